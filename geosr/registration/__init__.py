"""Registration of two images of the same ground: the shift between them, its smooth field, and their radiometry.

Start with :mod:`geosr.registration.align`, which measures one shift. ``observed`` shows a fine image as the coarse
sensor sees it, ``shift_surface`` fits the shifts of a scene, ``harmonise`` brings one radiometry to the other. May
import ``model``; needs no PyTorch.
"""
