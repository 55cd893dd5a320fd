#!/usr/bin/env bash
# Fetches NVRTC, the library that compiles the kernels, for the tests that compile them: once, outside the repository, into
# an environment where tests/gpu/compile.rs looks for it. Where that fails, those tests are skipped.
set -euo pipefail
version=12.9.86
folder=${ELANUS_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/elanus-e2e}/nvrtc-$version
if [ ! -e "$folder/ready" ]; then
    rm -rf "$folder"
    if "${PYTHON:-python3}" -m venv "$folder" &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check "nvidia-cuda-nvrtc-cu12==$version"; then
        touch "$folder/ready"
    else
        rm -rf "$folder"
        echo 'NVRTC could not be fetched: the tests that compile kernels are skipped'
        exit 0
    fi
fi
echo "NVRTC $version: $folder"
