#!/usr/bin/env bash
# run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT
# Verifies one instance; the verdict, and a counterexample after `sat`, go into RESULTS_FILE, the latter into
# RESULTS_FILE.counterexample too. Ends no process but its own. The device is CUDA where nvidia-smi shows one, or
# $ABCROWN_GRAFT_DEVICE.
set -euo pipefail

if [ "$#" -ne 6 ] || [ "$1" != v1 ]; then
    echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${ABCROWN_GRAFT_VENV:-$root/.venv}

device=${ABCROWN_GRAFT_DEVICE:-}
if [ -z "$device" ]; then
    device=cpu
    if command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; then
        device=cuda
    fi
fi

exec "$venv/bin/abcrown" --engine native --device "$device" \
    --onnx_path "$3" --vnnlib_path "$4" --results_file "$5" --override_timeout "$6" \
    --save_adv_example --cex_path "$5.counterexample"
