"""Measures of how good an upscaled image is."""
