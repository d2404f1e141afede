#!/usr/bin/env bash
# Builds, checks and measures the CUDA backend on a bare machine with a GPU, nvcc and the Python
# packages, but no network:   bash bench/gpu.sh OUTDIR
# At most nine minutes, the sum of the limits below; everything it finds goes to OUTDIR as JSON or text.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: bench/gpu.sh OUTDIR}
mkdir -p "$out"
status=0
step() { # step NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS rc
  shift 2
  timeout "$limit" "$@" >"$out/$name.txt" 2>&1
  rc=$?
  [ $rc -eq 0 ] || status=1
  printf '{"step": "%s", "rc": %d, "seconds": %d}\n' "$name" $rc $((SECONDS - begin)) |
    tee -a "$out/steps.jsonl"
  [ $rc -eq 0 ] || tail -n 30 "$out/$name.txt"
}

arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
step build 150 python3 -m pip install --no-build-isolation --no-deps . \
  -C cmake.define.KRF_CUDA=ON -C "cmake.define.KRF_CUDA_ARCHITECTURES=${arch}-real"
step info 10 python3 -m kernelrich_fast info
grep -q "cuda: works" "$out/info.txt" || { cat "$out/info.txt"; exit 1; }
step tests 110 pytest -q -k "cuda or drawn_once" -p no:cacheprovider

small=$out/small.py
cat >"$small" <<'PY'
import numpy as np
import kernelrich_fast as krf

X, y, _ = krf.datasets.sparse_regression(9, 21, 2)
krf.flow_diagonal(X, y, alpha=[1e-3, 1.0], depth=[[2], [3]], stop_loss=1e-4, backend="cuda")
krf.limit_diagonal(X, y, alpha=[1e-3, 1.0], depth=[[2], [3]], backend="cuda")
X, y, _ = krf.datasets.sparse_regression(130, 140, 2)  # a cluster, where there are any
krf.flow_diagonal(X, y, alpha=0.5, t_max=1e-3, method="radau5", rtol=1e-2, backend="cuda")
data = krf.datasets.low_rank_completion(4, 5, 1, 13)
where = dict(entries=data.entries, dims=(4, 5))
krf.flow_factorization(data.y, **where, alpha=[1e-2, 1.0], width=5, stop_loss=1e-4, backend="cuda")
circle = krf.datasets.circle_teacher(6)
krf.flow_mlp(circle.X, circle.y, width=6, alpha=[0.3, 1.0], t_max=1.0, rtol=1e-3, backend="cuda")
PY
for tool in memcheck racecheck; do
  step "$tool" 40 compute-sanitizer --tool "$tool" --error-exitcode 9 python3 "$small"
done
step bench 180 python3 bench/gpu.py --peer-limit 25 --out "$out/gpu.json"
exit $status
