"""Make ``tests/data/opensr_reference.json``: what opensr-test itself says of the images in ``tests/opensr_inputs.py``.

In an environment of its own, which sees the project's packages; from the repository's root:

    python -m venv /tmp/opensr
    echo "$PWD/.venv/lib/python3.11/site-packages" > /tmp/opensr/lib/python3.11/site-packages/geosr.pth
    /tmp/opensr/bin/pip install --no-deps opensr-test==1.3.3 satalign==0.1.17 opencv-python-headless==5.0.0.93 \
        scikit-image==0.26.0 lazy-loader==0.6 imageio==2.38.1 tifffile==2026.3.3
    PYTHONPATH=. /tmp/opensr/bin/python scripts/opensr_reference.py

What opensr-test imports for its plots and its learned registration stays away: none of it is used here. OpenCV before
version 5 rounds shifts to 1/32 pixel, with which the figures of shifted images differ.
"""

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path
from unittest.mock import MagicMock

from tests.opensr_inputs import make_inputs

OUTPUT = Path(__file__).parent.parent / "tests" / "data" / "opensr_reference.json"
UNUSED = ("matplotlib", "matplotlib.colors", "matplotlib.patches", "matplotlib.pyplot", "mpltern", "satalign.lgm")
PACKAGES = ("opensr-test", "satalign", "scikit-image", "opencv-python-headless", "torch", "numpy")

for name in UNUSED:
    sys.modules[name] = MagicMock()

import opensr_test  # noqa: E402  after the stand-ins

inputs = make_inputs()
values = {}
for name, sr in inputs.sr.items():
    # In single precision its angles between spectra are off by up to 0.0003 degrees: the cosine is too close to 1.
    found = opensr_test.Metrics().compute(lr=inputs.lr.double(), sr=sr.double(), hr=inputs.hr.double())
    values[name] = {
        "reflectance": found["reflectance"],
        "spectral_deg": found["spectral"],
        # JSON knows no NaN, with which opensr-test says that registration failed.
        "shift_lr_px": None if math.isnan(found["spatial"]) else found["spatial"],
        "improvement": found["im_metric"],
        "omission": found["om_metric"],
        "hallucination": found["ha_metric"],
    }
content = {"packages": {package: version(package) for package in PACKAGES}, "values": values}
OUTPUT.parent.mkdir(exist_ok=True)
OUTPUT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
print(f"{OUTPUT}: {len(values)} images")
