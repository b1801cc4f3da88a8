#!/bin/sh
# Sets up .venv, installs geosr with what its tests need, and runs every check. Safe to run again.
# Arguments go to pytest: sh scripts/test.sh -m "not slow"
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
make_environment
# Of the packages' many modules few are ever loaded: Python compiles those when they are.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[test]'
# The page is tested in Chromium: where there is none, Debian's is installed if we may; without, those tests are skipped.
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    (apt-get update && apt-get install --yes --no-install-recommends chromium) >/dev/null 2>&1 ||
        echo "Chromium could not be installed: the page is not tested" >&2
fi
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
.venv/bin/mypy
# Tests run side by side, those of a module mostly in the same process, which then sets up once what they share. Many
# wait for processes and services that they start: one test more than there are cores keeps those busy.
cores="$(getconf _NPROCESSORS_ONLN)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Threads of PyTorch that wait for one another would keep the cores from other processes.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
# Tests start Python hundreds of times: what one process has compiled, the next ones load.
unset PYTHONDONTWRITEBYTECODE
exec .venv/bin/python -m pytest -n "$((cores + 1))" --dist worksteal "$@"
