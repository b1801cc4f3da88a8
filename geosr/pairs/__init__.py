"""Training pairs from co-registered sensors: imagery of two sensors over the same ground becomes patches to learn from.

Start with :mod:`geosr.pairs.build`, which reads top to bottom; every other module is one of its steps. May import
``run`` and everything below it.
"""
