#!/bin/sh
# Sets up .venv, installs geosr and upscales the bundled Sentinel-2 sample into demo/. Safe to run again.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
make_environment
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt '.[cpu]'
.venv/bin/geosr demo demo
