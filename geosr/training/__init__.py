"""Training of the networks: degradation of high-resolution imagery, patches and the loop."""
