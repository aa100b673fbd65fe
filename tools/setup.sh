#!/bin/sh
# Create .venv with exactly the packages of a lock file: tools/setup.sh requirements.txt
set -eu
lock=$1
valid='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
# Without pip, an earlier set-up was interrupted, or the system has replaced the Python that .venv links to.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.13 python3.12 python3.11; fi
    for python; do
        if "$python" -c "$valid" 2>/dev/null; then found=$python; break; fi
    done
    if [ -z "${found:-}" ]; then
        echo "No Python 3.11, 3.12 or 3.13 found; install one, or give its path: make PYTHON=/path/to/python" >&2
        exit 1
    fi
    echo "Setting up .venv with $("$found" --version) (a few minutes, once)"
    "$found" -m venv --clear .venv || {
        rm -rf .venv
        echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
