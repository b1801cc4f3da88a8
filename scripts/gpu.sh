#!/bin/sh
# What runs on a machine with CUDA, in pieces of at most ten minutes. Each piece goes on from the files of the one before
# it in WORK, and may be run again: training until it says that nothing is left.
#   sh scripts/gpu.sh PIECE WORK [DATA]
# PIECE: tests, engines, end_to_end, train, half_widths, perceptual, release or all, which takes them in this order.
# WORK: folder of results and runs. DATA: folder of the training imagery, see docs/training.md.
# MINUTES: of a piece of training, 9 if not given. CONFIG: the image's configuration, rgbn_x4_quality if not given.
# PYTHON: an interpreter that geosr is installed in with its extras test and train; without, .venv is set up.
# SMOKE=1 runs every piece in its smallest form, on a CPU too, to see that it runs.
set -eu
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,11s/^# //p' scripts/gpu.sh >&2
    exit 2
}

[ $# -ge 2 ] || usage
piece=$1 work=$2 data=${3:-}
minutes=${MINUTES:-9} smoke=${SMOKE:-}
config=${CONFIG:-configs/rgbn_x4_quality.yaml}
half_widths=${HALF_WIDTHS:-${config%.yaml}_half_widths.yaml}
perceptual=${PERCEPTUAL:-${config%.yaml}_perceptual.yaml}

if [ -z "${PYTHON:-}" ]; then
    . scripts/environment.sh
    make_environment
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[test]'
    PYTHON=.venv/bin/python
fi
mkdir -p "$work"
if [ -z "$smoke" ]; then
    "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
        echo "PyTorch finds no CUDA device: run this on a machine that has one, or with SMOKE=1" >&2
        exit 1
    }
fi

needs_data() {
    [ -d "$data" ] || {
        echo "$1 needs the folder of the training imagery as the third argument" >&2
        exit 2
    }
}

run_piece() {
    case $1 in
    tests) "$PYTHON" -m pytest -q -p no:cacheprovider tests/geosr/test_cuda.py ;;
    engines) "$PYTHON" benchmarks/engines.py --results "$work" ${smoke:+--smoke} ;;
    end_to_end) "$PYTHON" benchmarks/end_to_end.py --results "$work" ${smoke:+--smoke} ;;
    train)
        needs_data train
        "$PYTHON" -m geosr train "$config" --data "$data" --output "$work/image" --minutes "$minutes"
        ;;
    half_widths)
        needs_data half_widths
        "$PYTHON" -m geosr train "$half_widths" --data "$data" --output "$work/half_widths" --minutes "$minutes" \
            --from-weights "$work/image/weights.safetensors"
        ;;
    perceptual)
        needs_data perceptual
        "$PYTHON" -m geosr train "$perceptual" --data "$data" --output "$work/perceptual" --minutes "$minutes" \
            --from-weights "$work/image/weights.safetensors"
        ;;
    release)
        needs_data release
        mkdir -p "$work/zoo"
        "$PYTHON" -m geosr.release.zoo_model "$config" "$work/image" "$half_widths" "$work/half_widths" \
            --data "$data" --zoo "$work/zoo"
        ;;
    *) usage ;;
    esac
}

if [ "$piece" = all ]; then
    for one in tests engines end_to_end train half_widths perceptual release; do
        echo "== $one"
        run_piece "$one"
    done
else
    run_piece "$piece"
fi
