#!/usr/bin/env bash
# Checks and measures the CUDA backend on a bare machine with a GPU, nvcc and the Python packages,
# but no network.  There are three stages, whose steps have these limits in all:
#
#   bash bench/gpu.sh OUTDIR check     are the kernels right?  At most 145 s
#   bash bench/gpu.sh OUTDIR measure   how fast are they, and what limits them?  At most 400 s
#   bash bench/gpu.sh OUTDIR tests     do the tests of the backend pass there?  At most 180 s
#
# Several stages may be given together.  A command needs at most 40 s more to install the package.
# So a machine that is lent for 900 s, and takes 90 s of these to start, has time for two commands,
# `check measure` and then `tests`.  If more than 180 s are left for the tests, TESTS_SECONDS says
# how many.  They are estimated, not measured, to need 200 s; the first command leaves time for that
# if its steps are named without `peers`.  A step that its limit ends may take 10 s more to say what
# it was at, the tests 25.  The steps come in the order of what they tell for their time.
#
# With names of steps after the stages (`check contact parts`) only those are run.
# The package is installed from the wheel in .whl/, which `bench/device/prepare.py build` makes and
# `bench/device/prepare.py check` examines: do both before the machine starts.  Without one the
# package is taken that is installed already.  To build it takes longer than such a machine is lent
# for, so that happens only where the step `build` is asked for by name, within 300 s more.  Without
# an executable .whl/micro nvcc makes that of bench/device/micro, within 30 s more.  While it runs,
# OUTDIR receives log.txt with all output, steps.jsonl with the build and a line for each step, and
# the results as lines of JSON.
set -uo pipefail
cd "$(dirname "$0")/.."
usage='usage: bench/gpu.sh OUTDIR check|measure|tests ... [STEP ...]'
out=${1:?$usage}
stages=()
wanted=" "
for word in "${@:2}"; do
  case $word in
  check | measure | tests) stages+=("$word") ;;
  *)
    if ! grep -qE "\bstep $word [0-9]" "$0"; then
      echo "$word: there is no such stage or step; $usage"
      exit 2
    fi
    wanted+="$word "
    ;;
  esac
done
if [ ${#stages[@]} -eq 0 ]; then
  echo "$usage"
  exit 2
fi
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
  [[ $wanted == " " || " wheel install build info micro_build tests " == *" $1 "* ]] || named "$1"
}
step() { # [grace=SECONDS] step NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS rc from
  shift 2
  asked "$name" || return 0
  echo "=== $name" >>"$log"
  from=$(wc -c <"$log")
  # Straight to the log: nothing else is left of a step during which the machine is taken away.  Not
  # through a pipe, which would wait for whatever the step leaves running.  SIGINT, so that pytest
  # still says what failed.
  timeout -k "${grace:-10}" -s INT "$limit" "$@" >>"$log" 2>&1
  rc=$?
  tail -c "+$((from + 1))" "$log" >"$scratch/$name.txt"
  [ $rc -eq 0 ] || status=1
  printf '{"step": "%s", "rc": %d, "seconds": %d}\n' "$name" $rc $((SECONDS - begin)) |
    tee -a "$out/steps.jsonl"
  tail -n "$([ $rc -eq 0 ] && echo 3 || echo 30)" "$scratch/$name.txt" | cut -c 1-400
  return $rc
}
# The lines of JSON that a step printed, if any, also before its time was over.
lines() { # lines NAME
  asked "$1" || return 0
  grep '^{.*}$' "$scratch/$1.txt" >>"$out/$1.jsonl" || [ -s "$out/$1.jsonl" ] || rm "$out/$1.jsonl"
}
failed() { # failed NAME REASON: for what the exit status of the step's command does not show
  printf '{"step": "%s", "%s": true}\n' "$1" "$2" | tee -a "$out/steps.jsonl"
  status=1
}
# Fails a step whose tests were all skipped, or some of them because there is no device.
on_device() { # on_device NAME
  asked "$1" || return 0
  # The summary, and no name of a test that reads like it.
  if ! grep -qE '^=+ .*[1-9][0-9]* passed.* in [0-9.]+s' "$scratch/$1.txt" ||
    grep -qE '^SKIPPED.*cuda: ' "$scratch/$1.txt"; then
    failed "$1" nothing_ran_on_the_device
  fi
}

KRF_BUILD='"installed before"'
if named build; then
  arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
  step build 300 python3 -m pip install --no-build-isolation --force-reinstall --no-deps . \
    -C cmake.define.KRF_TESTING=ON -C cmake.define.KRF_CUDA=ON \
    -C "cmake.define.KRF_CUDA_ARCHITECTURES=${arch}-real" || exit 1
  KRF_BUILD='"of the source tree, on this machine"'
elif compgen -G '.whl/kernelrich_fast-*.whl' >/dev/null ||
  ! python3 -c 'import kernelrich_fast._cuda' 2>/dev/null; then
  # Also where the package is installed already: that may be of another commit.
  step wheel 5 python3 bench/device/prepare.py check || exit 1
  step install 20 python3 -m pip install -q --force-reinstall --no-index --no-deps \
    .whl/kernelrich_fast-*cp312*.whl || exit 1
  KRF_BUILD=$(<.whl/BUILD)
fi
export KRF_BUILD # for the head of the rows
printf '{"build": %s}\n' "$KRF_BUILD" | tee -a "$out/steps.jsonl"
if ! step info 15 python3 -m kernelrich_fast info ||
  ! grep -q 'cuda: works' "$scratch/info.txt"; then
  cat "$scratch/info.txt"
  exit 1
fi
# Without -W default a warning inside `import cupy` would turn every test of the device into a skip.
pytest=(python3 -m pytest -v -p no:cacheprovider -W default -rsf --tb=short -n 8 --dist worksteal)
# After an error of the device tests/conftest.py ends the worker, which is then replaced.
pytest+=(--max-worker-restart 64)
export KRF_END_AFTER_DEVICE_FAULT=1
# A thread, since no signal ends a test that waits for a kernel: the test's worker dies, the others
# go on, and all that failed is told at the end.
python3 -c 'import pytest_timeout' 2>/dev/null && pytest+=(--timeout 60 --timeout-method thread)
contact=(python3 bench/device/first_contact.py)
rows=(python3 bench/gpu.py --out "$out/rows.jsonl" --only)

check() {
  local micro=.whl/micro
  if ! [ -x "$micro" ] && asked micro; then
    micro=$scratch/micro
    command -v nvcc >/dev/null &&
      step micro_build 30 nvcc -O3 -std=c++20 -arch=native bench/device/micro/micro.cu -o "$micro"
  fi
  step micro 15 "$micro"
  lines micro
  step contact 50 "${contact[@]}"
  lines contact
  # No host compiler: the parts on the device alone.
  CXX=false step parts 25 "${pytest[@]}" -k 'cuda or drawn_once' tests/native/test_team_parts.py
  on_device parts
  # In one process, which the sanitizer surely follows.
  step memcheck 30 compute-sanitizer --tool memcheck --error-exitcode 9 "${contact[@]}" --here \
    --small
  step flow 25 "${rows[@]}" flow,limit --runs 64,528 --repeats 2
}
measure() {
  step rows 85 "${rows[@]}" flow,limit,large,crossover
  # In a process of their own, since their kernels are the newest.
  step margins 50 "${rows[@]}" margin,decay,crossover_margin,crossover_linear
  # The deeper networks of figure 6 are the last: they may take longer than this.
  step figures 70 "${rows[@]}" figure5,figure6 --seeds 1000,200,3
  # All families' kernels have one name, and the packing of data is a kernel of the family too.
  step ncu 30 ncu --clock-control none --kernel-name-base demangled \
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
  step peers 140 "${rows[@]}" peers --peer-limit 40
  step synccheck 25 compute-sanitizer --tool synccheck --error-exitcode 9 "${contact[@]}" --here \
    --small
}
tests() {
  # xdist itself waits 10 s for its workers.
  grace=25 step tests "${TESTS_SECONDS:-180}" "${pytest[@]}" \
    --ignore tests/native/test_team_parts.py -k cuda tests
  on_device tests
}
for stage in "${stages[@]}"; do
  "$stage"
done
exit $status
