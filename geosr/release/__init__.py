"""Shipped and user-made models: weights, measured halo, calibration and card, from a training run or a checkpoint.

Start with :mod:`geosr.release.zoo_model` for a model of the zoo, :mod:`geosr.release.user_model` for a model of a
user's run, and :mod:`geosr.release.adapt` for a published checkpoint. May import ``training`` and ``evaluate``.
"""
