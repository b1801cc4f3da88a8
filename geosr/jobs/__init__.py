"""Runs that survive interruption: what a run is, which of its chunks are done, and where they are computed."""
