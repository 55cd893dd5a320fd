#!/usr/bin/env bash
# Measures searches on the GPU of this machine, which needs a driver and the CUDA toolkit (or the Python package
# nvidia-cuda-nvrtc-cu12), and neither Rust nor anything else of this repository:
#
#   cargo build --release -p elanus-gpu-bench              where there is Rust; makes target/release/gpu-bench
#   scp target/release/gpu-bench benches/gpu/run.sh benches/gpu/peer.py MACHINE:
#   ./run.sh [arguments of gpu-bench]                      there; ./gpu-bench --help lists them
#
# Without arguments every index type is measured: --nlist 4096 --m 32 --graph-degree 64. Three steps, which STEPS names
# (STEPS=bench,peer,sanitize): answers next to sums in 64 bits and the measurement; the same in PyTorch; and the kernels under
# compute-sanitizer's tools. The last two are left out, with a message, where their tool is not there. A step that fails does not
# keep the others from being done. SANITIZE_TYPES names the types of vectors whose kernels are looked at.
#
# Exit status: 1 when a step failed or the program has 20 MiB or more, 2 without the program, 3 without a device.
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

steps=${STEPS:-bench,peer,sanitize}
for step in ${steps//,/ }; do
    case $step in
    bench | peer | sanitize) ;;
    *)
        echo "run.sh: STEPS has no step $step; there are bench, peer, sanitize" >&2
        exit 1
        ;;
    esac
done
[ $# -gt 0 ] || set -- --nlist 4096 --m 32 --graph-degree 64
# Kernels are compiled once for all that follows.
kernels=$(mktemp -d)
trap 'rm -rf "$kernels"' EXIT
failed=()

# step NAME: whether it is asked for.
step() { [[ ",$steps," == *",$1,"* ]]; }

if step bench; then
    printf '\n==> %s\n' "gpu-bench $*"
    "$bench" --cache "$kernels" "$@" || failed+=(bench)
fi

if step peer; then
    printf '\n==> the same in PyTorch\n'
    if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
        "$python" "$here/peer.py" "$@" || failed+=(peer)
    else
        echo 'skipped: no PyTorch that sees a GPU'
    fi
fi

if step sanitize; then
    printf '\n==> compute-sanitizer\n'
    if command -v compute-sanitizer >/dev/null; then
        types=${SANITIZE_TYPES:-f32,f16,bf16,int8,bit}
        for tool in memcheck racecheck synccheck initcheck; do
            for type in ${types//,/ }; do
                echo "$tool, $type:"
                compute-sanitizer --tool "$tool" --error-exitcode 1 "$bench" --cache "$kernels" --check-only --check-rows 3000 \
                    --type "$type" | tail -n 3 || failed+=("$tool of $type")
            done
        done
    else
        echo 'skipped: no compute-sanitizer'
    fi
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'run.sh: failed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')" >&2
    exit 1
fi
