"""Training of the networks: degradation of high-resolution imagery, patches and the loop.

Start with :mod:`geosr.training.loop`, which reads top to bottom; ``config`` says what a configuration may hold,
``data`` and ``degrade`` make batches. May import ``evaluate`` and ``model``; :mod:`geosr.release` turns a finished
run into a model.
"""
