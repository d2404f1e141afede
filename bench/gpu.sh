#!/usr/bin/env bash
# Checks and measures the CUDA backend on a bare machine with a GPU, nvcc and the Python packages,
# but no network.  There are two stages, whose steps have these limits in all:
#
#   bash bench/gpu.sh OUTDIR check     are the kernels right?  At most 550 s
#   bash bench/gpu.sh OUTDIR measure   how fast are they, and what limits them?  At most 360 s
#
# A step that its limit ends may take 10 s more to say what it was at.  The steps of a check come in
# the order of what they tell for their time; the tests, the longest, are the last.
#
# With names of steps after the stage (`check contact parts`) only those are run.
# The package is installed from a wheel in .whl/, unless it is there already: to build it takes
# longer than such a machine is lent for, so that happens only where the step `build` is asked for
# by name, within 300 s more.  An executable .whl/micro is taken for that of bench/device/micro,
# which nvcc makes otherwise.  While it runs, OUTDIR receives log.txt with all output, steps.jsonl
# with a line for each step, and the results as JSON.
set -uo pipefail
cd "$(dirname "$0")/.."
usage='usage: bench/gpu.sh OUTDIR check|measure [STEP ...]'
out=${1:?$usage}
stage=${2:?$usage}
wanted=" ${*:3} "
mkdir -p "$out"
log=$out/log.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
status=0
# The source tree has no compiled module: the installed package is the one to import.
export PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
# JAX would take three quarters of the device's memory for each worker of the tests.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
named() {
  [[ $wanted == *" $1 "* ]]
}
# Is this step among those that were asked for, or are needed for all?
asked() {
  [[ $wanted == "  " || " wheel build info micro_build " == *" $1 "* ]] || named "$1"
}
step() { # step NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS rc from
  shift 2
  asked "$name" || return 0
  echo "=== $name" >>"$log"
  from=$(wc -c <"$log")
  # Straight to the log: nothing else is left of a step during which the machine is taken away.  Not
  # through a pipe, which would wait for whatever the step leaves running.  SIGINT, so that pytest
  # still says what failed.
  timeout -k 10 -s INT "$limit" "$@" >>"$log" 2>&1
  rc=$?
  tail -c "+$((from + 1))" "$log" >"$scratch/$name.txt"
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
failed() { # failed NAME REASON: for what the exit status of the step's command does not show
  printf '{"step": "%s", "%s": true}\n' "$1" "$2" | tee -a "$out/steps.jsonl"
  status=1
}
# Fails a step whose tests were all skipped, or some of them because there is no device.
on_device() { # on_device NAME
  asked "$1" || return 0
  if ! grep -qE '(^|[ =])[1-9][0-9]* passed.* in [0-9.]+s' "$scratch/$1.txt" ||
    grep -qE '^SKIPPED.*cuda: ' "$scratch/$1.txt"; then
    failed "$1" nothing_ran_on_the_device
  fi
}

if ! python3 -c 'import kernelrich_fast._cuda' 2>/dev/null; then
  if named build; then
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
    step build 300 python3 -m pip install --no-build-isolation --no-deps . \
      -C cmake.define.KRF_TESTING=ON -C cmake.define.KRF_CUDA=ON \
      -C "cmake.define.KRF_CUDA_ARCHITECTURES=${arch}-real" || exit 1
  elif compgen -G '.whl/kernelrich_fast-*.whl' >/dev/null; then
    step wheel 20 python3 -m pip install -q --no-index --no-deps .whl/kernelrich_fast-*.whl ||
      exit 1
  else
    failed wheel not_there
    tee -a "$log" <<'END'
There is no wheel in .whl/.  Make one where nvcc and the Python of this machine (cp312) are:

  python3.12 -m pip wheel --no-deps -w .whl . -C cmake.define.KRF_TESTING=ON \
    -C cmake.define.KRF_CUDA=ON -C cmake.define.KRF_CUDA_ARCHITECTURES=90-real

(90-real: an H100 or H200).  Only if the step `build` is named after the stage is it built here.
END
    exit 1
  fi
fi
if ! step info 20 python3 -m kernelrich_fast info ||
  ! grep -q 'cuda: works' "$scratch/info.txt"; then
  cat "$scratch/info.txt"
  exit 1
fi
# Without -W default a warning inside `import cupy` would turn every test of the device into a skip.
tests=(python3 -m pytest -v -p no:cacheprovider -W default -rsf --tb=short -n 8 --dist worksteal)
# A thread, since no signal ends a test that waits for a kernel: the test's worker dies, the others
# go on, and all that failed is told at the end.
python3 -c 'import pytest_timeout' 2>/dev/null && tests+=(--timeout 60 --timeout-method thread)
contact=(python3 bench/device/first_contact.py)

case $stage in
check)
  micro=.whl/micro
  if ! [ -x "$micro" ] && asked micro; then
    micro=$scratch/micro
    command -v nvcc >/dev/null &&
      step micro_build 30 nvcc -O3 -std=c++20 -arch=native bench/device/micro/micro.cu -o "$micro"
  fi
  step micro 40 "$micro" && lines micro
  step contact 60 "${contact[@]}"
  lines contact
  # No host compiler: the parts on the device alone.
  CXX=false step parts 40 "${tests[@]}" -k 'cuda or drawn_once' tests/native/test_team_parts.py
  on_device parts
  step memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 "${contact[@]}" --small
  step flow 40 python3 bench/gpu.py --only flow,limit --runs 64,528 --repeats 2 \
    --out "$out/first.json"
  step tests 240 "${tests[@]}" --ignore tests/native/test_team_parts.py -k cuda tests
  on_device tests
  ;;
measure)
  # Not figure 6: its deeper networks alone take longer than this.
  step rows 120 python3 bench/gpu.py --only flow,limit,margin,decay,large,crossover,figure5 \
    --repeats 2 --seeds 100 --out "$out/gpu.json"
  # All families' kernels have one name, and the packing of data is a kernel of the family too.
  step ncu 50 ncu --clock-control none --kernel-name-base demangled \
    -k 'regex:run_kernel<.*DiagonalFlowFamily' --launch-count 1 \
    --section SpeedOfLight --section Occupancy --section WarpStateStats \
    --section MemoryWorkloadAnalysis --section ComputeWorkloadAnalysis --section InstructionStats \
    --section LaunchStats python3 -c '
import numpy as np, kernelrich_fast as krf
X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
krf.flow_diagonal(X, y, alpha=np.geomspace(1e-6, 1.0, 528), stop_loss=1e-12, backend="cuda")'
  if asked ncu; then
    cp "$scratch/ncu.txt" "$out/ncu.txt"
    # It exits with 0 where no kernel has the name.
    grep -q '==PROF== Profiling' "$scratch/ncu.txt" || failed ncu nothing_was_profiled
  fi
  step synccheck 50 compute-sanitizer --tool synccheck --error-exitcode 9 "${contact[@]}" --small
  step peers 100 python3 bench/gpu.py --only peers --peer-limit 20 --out "$out/peers.json"
  ;;
*)
  echo "$usage"
  exit 2
  ;;
esac
exit $status
