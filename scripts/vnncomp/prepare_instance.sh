#!/usr/bin/env bash
# prepare_instance.sh v1 CATEGORY ONNX VNNLIB
# Reads both files once, so that what cannot be read is known before the clock runs. Writes nothing, ends no process.
set -euo pipefail

if [ "$#" -ne 4 ] || [ "$1" != v1 ]; then
    echo "usage: prepare_instance.sh v1 CATEGORY ONNX VNNLIB" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${ABCROWN_GRAFT_VENV:-$root/.venv}

exec "$venv/bin/python" - "$3" "$4" <<'READ'
import math
import sys

from abcrown_graft.cli.errors import guarded


def read() -> int:
    from abcrown_graft.formats.onnx.reader import read_onnx
    from abcrown_graft.formats.vnnlib.read import read_property

    network = read_onnx(sys.argv[1]).network
    read_property(sys.argv[2], math.prod(network.input.shape), math.prod(network.output.shape))
    return 0


sys.exit(guarded(read))
READ
