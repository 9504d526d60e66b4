#!/bin/sh
# Create .venv and install the harness into it: scripts/setup.sh EXTRAS GPU
# GPU: auto | cuda | metal | vulkan | none; the build flags of llama-cpp-python follow from it.
set -eu
extras=$1
gpu=${2:-auto}
python=${PYTHON:-python3}
venv=.venv

"$python" - <<'EOF' || exit 2
import sys
if sys.version_info < (3, 10):
    sys.exit(f"setup: Python 3.10 or newer is needed, {sys.executable} is {sys.version.split()[0]}; "
             "say PYTHON=/path/to/python3")
EOF

if [ "$gpu" = auto ]; then
    if [ "$(uname -s)" = Darwin ]; then gpu=metal
    # A toolkit without a device (a build image, say) is no reason to compile for CUDA.
    elif command -v nvcc >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then gpu=cuda
    else gpu=none
    fi
    why=" (found by looking: GPU=cuda|metal|vulkan|none overrides)"
fi
case $gpu in
    cuda)   flags="-DGGML_CUDA=on" ;;
    metal)  flags="-DGGML_METAL=on" ;;
    vulkan) flags="-DGGML_VULKAN=on" ;;
    none)   flags="-DGGML_CUDA=off -DGGML_METAL=off -DGGML_VULKAN=off" ;;
    *) echo "setup: GPU=$gpu is unknown; accepted: auto cuda metal vulkan none" >&2; exit 2 ;;
esac
echo "setup: llama.cpp for GPU=$gpu${why:-}, CMAKE_ARGS=\"$flags ${CMAKE_ARGS:-}\""

for tool in cmake cc c++; do
    command -v $tool >/dev/null 2>&1 || {
        echo "setup: '$tool' is not on the PATH; llama.cpp is compiled here and needs CMake and a C/C++ compiler" >&2
        exit 2
    }
done

# pip says nothing while a compiler works for minutes: say that it does.
begun=$(date +%s)
(while sleep 20 >/dev/null 2>&1; do
    echo "setup: still working, $(($(date +%s) - begun)) s"
done) & beat=$!
trap 'kill $beat 2>/dev/null || true' EXIT

[ -x $venv/bin/python ] || "$python" -m venv $venv
before=$(cat $venv/.gpu 2>/dev/null || true)
export CMAKE_ARGS="$flags ${CMAKE_ARGS:-}"
# pip's cache knows a wheel by its version, not by its build flags: a build for a GPU, and a change
# of mind, must neither take a wheel from the cache nor leave one there.
if [ "$gpu" != none ] || { [ -n "$before" ] && [ "$before" != none ]; }; then
    if [ "$before" != "$gpu" ]; then
        pin=$(sed -n 's/^ *"\(llama-cpp-python==[^"]*\)".*/\1/p' pyproject.toml)
        $venv/bin/python -m pip install --quiet --no-cache-dir --force-reinstall \
            --no-binary llama-cpp-python -c constraints.txt "$pin"
    fi
fi
echo "setup: installing (the first time compiles llama.cpp: about 5 minutes on 2 cores)"
$venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
# As for an installed package: where Python may write no bytecode (containers), each child process
# would otherwise compile the harness again.
$venv/bin/python -m compileall -q harness
echo "$gpu" > $venv/.gpu
