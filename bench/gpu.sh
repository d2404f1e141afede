#!/usr/bin/env bash
# Checks and measures the CUDA backend on a bare machine with a GPU, nvcc and the Python packages, but
# no network.  There are two stages:
#
#   bash bench/gpu.sh OUTDIR check     are the kernels right?  At most 450 s, with the experiments of
#                                      bench/device/micro before it
#   bash bench/gpu.sh OUTDIR measure   how fast are they, and what limits them?  At most 415 s
#
# With names of steps after the stage (`check contact parts`) only those are run.
# A wheel in .whl/, built with KRF_TESTING=ON, is installed.  Without one the package is built, which
# adds at most 150 s.  An executable .whl/micro is taken for that of bench/device/micro.  While it runs, OUTDIR receives
# log.txt with all output, steps.jsonl with a line for each step, and the results as JSON.
set -uo pipefail
cd "$(dirname "$0")/.."
usage='usage: bench/gpu.sh OUTDIR check|measure [STEP ...]'
out=${1:?$usage}
stage=${2:?$usage}
wanted=" ${*:3} "
[ $# -eq 2 ] || wanted+="wheel build info micro_build "
mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
status=0
# The source tree has no compiled module: the installed package is the one to import.
export PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
# JAX would take three quarters of the device's memory for each worker of the tests.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
# Is this step among those that were asked for?
asked() {
  [[ $wanted == "  " || $wanted == *" $1 "* ]]
}
step() { # step NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS rc
  shift 2
  asked "$name" || return 0
  # SIGINT, so that pytest still says what failed.
  timeout -k 10 -s INT "$limit" "$@" >"$scratch/$name.txt" 2>&1
  rc=$?
  { echo "=== $name" && cat "$scratch/$name.txt"; } >>"$out/log.txt"
  [ $rc -eq 0 ] || status=1
  printf '{"step": "%s", "rc": %d, "seconds": %d}\n' "$name" $rc $((SECONDS - begin)) |
    tee -a "$out/steps.jsonl"
  tail -n "$([ $rc -eq 0 ] && echo 3 || echo 30)" "$scratch/$name.txt" | cut -c 1-400
  return $rc
}
# The lines of JSON that a step printed.
lines() { # lines NAME
  asked "$1" && grep '^{' "$scratch/$1.txt" >"$out/$1.jsonl"
}
# Fails a step whose tests were all skipped, or some of them because there is no device.
on_device() { # on_device NAME
  asked "$1" || return 0
  if ! grep -qE '(^|[ =])[1-9][0-9]* passed' "$scratch/$1.txt" ||
    grep -qE '^SKIPPED.*cuda: ' "$scratch/$1.txt"; then
    printf '{"step": "%s", "nothing_ran_on_the_device": true}\n' "$1" | tee -a "$out/steps.jsonl"
    status=1
  fi
}

if ! python3 -c 'import kernelrich_fast._cuda' 2>/dev/null; then
  if compgen -G '.whl/kernelrich_fast-*.whl' >/dev/null; then
    step wheel 20 python3 -m pip install -q --no-index --no-deps .whl/kernelrich_fast-*.whl
  else
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
    step build 150 python3 -m pip install --no-build-isolation --no-deps . \
      -C cmake.define.KRF_TESTING=ON -C cmake.define.KRF_CUDA=ON \
      -C "cmake.define.KRF_CUDA_ARCHITECTURES=${arch}-real"
  fi
fi
if ! step info 30 python3 -m kernelrich_fast info || ! grep -q 'cuda: works' "$scratch/info.txt"; then
  cat "$scratch/info.txt"
  exit 1
fi
# Without -W default a warning inside `import cupy` would turn every test of the device into a skip.
tests=(python3 -m pytest -q -p no:cacheprovider -W default -rsf --tb=short -n 8 --dist worksteal)
python3 -c 'import pytest_timeout' 2>/dev/null && tests+=(--timeout 60)
contact=(python3 bench/device/first_contact.py)

case $stage in
check)
  micro=.whl/micro
  if ! [ -x "$micro" ] && asked micro; then
    micro=$scratch/micro
    command -v nvcc >/dev/null &&
      step micro_build 30 nvcc -O3 -std=c++20 -arch=native bench/device/micro/micro.cu -o "$micro"
  fi
  step micro 60 "$micro" && lines micro
  step contact 75 "${contact[@]}"
  lines contact
  # No host compiler: the parts on the device alone.
  CXX=false step parts 40 "${tests[@]}" -k 'cuda or drawn_once' tests/native/test_team_parts.py
  on_device parts
  step tests 150 "${tests[@]}" --ignore tests/native/test_team_parts.py -k cuda tests
  on_device tests
  step memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 "${contact[@]}" --small
  step flow 50 python3 bench/gpu.py --only flow,limit --runs 64,528 --repeats 2 --out "$out/first.json"
  ;;
measure)
  step rows 200 python3 bench/gpu.py --only flow,limit,crossover,large,figure5,figure6 --out "$out/gpu.json"
  step ncu 50 ncu --clock-control none -k regex:diagonal_flow --launch-count 1 \
    --section SpeedOfLight --section Occupancy --section WarpStateStats \
    --section MemoryWorkloadAnalysis --section ComputeWorkloadAnalysis --section InstructionStats \
    --section LaunchStats python3 -c '
import numpy as np, kernelrich_fast as krf
X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
krf.flow_diagonal(X, y, alpha=np.geomspace(1e-6, 1.0, 528), stop_loss=1e-12, backend="cuda")'
  cp "$scratch/ncu.txt" "$out/ncu.txt"
  step synccheck 50 compute-sanitizer --tool synccheck --error-exitcode 9 "${contact[@]}" --small
  step peers 100 python3 bench/gpu.py --only peers --peer-limit 25 --out "$out/peers.json"
  ;;
*)
  echo "$usage"
  exit 2
  ;;
esac
exit $status
