"""The super-resolution models: network, sensor, model cards and the zoo of shipped models.

Start with :mod:`geosr.model.card`, which describes and reads a model card; ``zoo`` finds shipped ones, ``weights``
loads them, ``generator`` is the whole map from low to high resolution. May import ``errors`` alone. Cards and kernels
need no PyTorch.
"""
