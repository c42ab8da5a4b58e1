#!/bin/bash
# What only a GPU can tell, in under 8 minutes: the reward server's speed beside the matrix-product
# peak and padded transformers, FlexAttention's rewards beside one at a time, the embedded policy's
# tokens a second. It takes torch and transformers as they are installed, and further wheels from
# the folder WHEELS. Figures go to the folder OUT (default: gpu-check).
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-gpu-check}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
if [ -n "${WHEELS:-}" ]; then
    "$PYTHON" -m pip install --quiet --no-index --find-links "$WHEELS" --no-deps "$WHEELS"/*.whl || exit 1
fi
failed=0
step() {  # step SECONDS COMMAND...: the rest goes on if it fails
    local limit=$1
    shift
    echo "== $*"
    timeout "$limit" "$@" || { echo "failed: exit status $?"; failed=1; }
}
{
    date -u +%F
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    "$PYTHON" -c 'import torch, transformers; print(torch.__version__, transformers.__version__)'
    step 210 "$PYTHON" benchmarks/reward_gpu.py --sizes 0.6B,4B --rounds 5 --json "$OUT/reward.json"
    step 120 "$PYTHON" -m pytest -n0 -q -m gpu tests/gpu
    step 60 "$PYTHON" benchmarks/embedded_decode.py --model 0.6B --json "$OUT/embedded-0.6B.json"
    step 80 "$PYTHON" benchmarks/embedded_decode.py --model 4B --rounds 2 --tokens 32 \
        --json "$OUT/embedded-4B.json"
    exit $failed
} 2>&1 | tee "$OUT/log"
