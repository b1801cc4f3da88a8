"""Many scenes: one product each, in a folder that is a STAC Collection.

Start with :mod:`geosr.batch.folder`. ``scenes`` lists the scenes, ``collection`` describes the folder, ``summary`` says
what was made. May import ``maps``, ``run`` and everything below them.
"""
