#!/bin/sh
# Runs a command with a CUDA toolkit that compiles nothing, so that `--features cuda` type-checks on machines without one:
#   .ci/stub-cuda.sh cargo check -p bitbudget-exec --features cuda
# The stub compiler answers with a version and writes empty files; what is built with it does not run.
set -eu
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
mkdir -p "$home/bin" "$home/include" "$home/lib64"
: > "$home/include/cuda.h"
cat > "$home/bin/nvcc" <<'STUB'
#!/bin/sh
directory=
output=
sources=
while [ $# -gt 0 ]; do
    case $1 in
        --version)
            # Build scripts read the fourth line.
            printf '%s\n' 'nvcc: NVIDIA (R) Cuda compiler driver' stub stub \
                'Cuda compilation tools, release 13.0, V13.0.48'
            exit 0
            ;;
        -o) output=$2; shift ;;
        --output-directory) directory=$2; shift ;;
        *.cu) sources="$sources $1" ;;
    esac
    shift
done
if [ -n "$output" ]; then
    : > "$output"
fi
if [ -n "$directory" ]; then
    for source in $sources; do
        : > "$directory/$(basename "$source" .cu).ptx"
    done
fi
STUB
chmod +x "$home/bin/nvcc"
PATH="$home/bin:$PATH" CUDA_HOME="$home" CUDA_PATH="$home" CUDA_COMPUTE_CAP=80 "$@"
