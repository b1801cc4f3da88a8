"""Many scenes: one product each, in a folder that is a STAC Collection.

Start with :mod:`geosr.batch.folder`. ``scenes`` lists the scenes, ``features`` those of each feature, ``parallel``
runs several at a time, ``collection`` describes the folder, and ``summary`` says what was made.
May import ``maps``, ``run`` and everything below them.
"""
