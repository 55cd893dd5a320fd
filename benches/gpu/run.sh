#!/usr/bin/env bash
# Measures searches on the GPU of this machine, which needs a driver and the CUDA toolkit (or the Python package
# nvidia-cuda-nvrtc-cu12), and neither Rust nor anything else of this repository:
#
#   cargo build --release -p elanus-gpu-bench              where there is Rust; makes target/release/gpu-bench
#   scp target/release/gpu-bench benches/gpu/run.sh benches/gpu/peer.py MACHINE:
#   ./run.sh [arguments of gpu-bench]                      there; ./gpu-bench --help lists them
#
# Four steps, of which the last two are left out, with a message, where their tool is not there: answers next to sums in
# 64 bits and the measurement; the same in PyTorch; and the kernels under compute-sanitizer's tools.
#
# Exit status: 1 when something failed or the program has 20 MiB or more, 2 without the program, 3 without a device.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bench=${GPU_BENCH:-$here/gpu-bench}
most_bytes=$((20 * 1024 * 1024))

if [ ! -x "$bench" ]; then
    echo "run.sh: there is no program $bench; cargo build --release -p elanus-gpu-bench makes it (GPU_BENCH names another place)" >&2
    exit 2
fi
bytes=$(wc -c <"$bench")
printf '==> %s: %s bytes\n' "$bench" "$bytes"
if [ "$bytes" -ge "$most_bytes" ]; then
    echo "run.sh: it has $bytes bytes, more than the $most_bytes that are carried; build it with --release" >&2
    exit 1
fi

# NVRTC and cuBLAS, where they lie outside of what the system searches.
python=${PYTHON:-python3}
packages=$("$python" -c 'import nvidia, os; print(os.pathsep.join(nvidia.__path__))' 2>/dev/null || true)
folders=/usr/local/cuda/lib64:/usr/local/cuda/targets/x86_64-linux/lib
for package in ${packages//:/ }; do
    for folder in "$package"/*/lib; do
        folders=$folders:$folder
    done
done
export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi --list-gpus; then
    echo "run.sh: this machine has no GPU, or no driver for it (nvidia-smi finds none); to see that all of it works:" >&2
    echo "  $bench --cpu --rows 5000 --queries 1,10 --seconds 0.1 --nlist 64 --m 32 --graph-degree 16" >&2
    exit 3
fi
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv || true
printf '\n==> %s\n' "gpu-bench $*"
"$bench" "$@"

printf '\n==> the same in PyTorch\n'
if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    "$python" "$here/peer.py" "$@"
else
    echo 'skipped: no PyTorch that sees a GPU'
fi

printf '\n==> compute-sanitizer\n'
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck initcheck; do
        echo "$tool:"
        compute-sanitizer --tool "$tool" --error-exitcode 1 "$bench" --check-only --check-rows 3000 | tail -n 3
        for type in f16 bf16 int8 bit; do
            compute-sanitizer --tool "$tool" --error-exitcode 1 "$bench" --check-only --check-rows 3000 --type "$type" |
                tail -n 3
        done
    done
else
    echo 'skipped: no compute-sanitizer'
fi
