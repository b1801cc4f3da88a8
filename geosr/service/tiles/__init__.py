"""Live tiles: chunks of a scene computed on demand, and their rendering on a web map's grid.

Start with :mod:`geosr.service.tiles.live_tiles`; ``live_chunks`` computes and keeps chunks, ``render`` draws a tile.
May import ``scenes`` and ``cache``.
"""
