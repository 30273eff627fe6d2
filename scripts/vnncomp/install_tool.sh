#!/usr/bin/env bash
# install_tool.sh v1
# Installs this package into a virtual environment inside the checkout (or into $ABCROWN_GRAFT_VENV) and touches
# nothing else. $PYTHON names the interpreter to start from.
set -euo pipefail

if [ "$#" -ne 1 ] || [ "$1" != v1 ]; then
    echo "usage: install_tool.sh v1" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${ABCROWN_GRAFT_VENV:-$root/.venv}

"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --constraint "$root/constraints.txt" "$root" onnxruntime vnnlib
"$venv/bin/abcrown" --version
