#!/bin/sh
# Compiles the CUDA kernels for five architectures with NVIDIA's compiler, which needs no GPU, and checks what they take: installs it where that
# is allowed, and says so where it cannot be had.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! { python3 -m venv "$folder" && "$folder/bin/pip" install -q 'nvidia-cuda-nvrtc==13.0.*' 'nvidia-cuda-nvdisasm>=13,<14'; } > /dev/null 2>&1; then
    echo "skipped: NVIDIA's compiler cannot be installed"
    exit 0
fi
"$folder/bin/python" tests/cuda/cubins.py
