"""Plain images, whose values are brightness: photographs, slices of scanners, and videos.

Start with :mod:`geosr.plain_images.convert`, which upscales files. ``files`` reads and writes photographs, ``slices``
DICOM, ``video`` videos; all of them use ``upscale``. May import ``inference`` and what lies below it.
"""
