# Sourced by the other scripts: makes the virtual environment .venv with Python 3.11 or newer, once.
# PYTHON names another interpreter.

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "no Python 3.11 or newer found: install one, or name it with PYTHON=" >&2
    return 1
}

make_environment() {
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || return 1
        rm -rf .venv
        # Some systems ship Python without the part that puts pip into new environments: the system's own pip does it.
        "$python" -m venv .venv >/dev/null 2>&1 || {
            rm -rf .venv
            "$python" -m venv --without-pip .venv &&
                "$python" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check pip
        } || return 1
    fi
}
