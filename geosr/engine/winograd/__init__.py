"""The engine for CPUs in float32: code made at run time for 3 × 3 convolutions and what comes after them."""
