"""Training pairs from co-registered sensors: imagery of two sensors over the same ground becomes patches to learn from.

:mod:`geosr.pairs.build` reads top to bottom what is done; every other module is one of its steps.
"""
