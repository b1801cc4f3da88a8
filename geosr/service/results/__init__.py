"""Finished products as STAC Items, and the periods and areas they are searched by. May import ``problems``."""
