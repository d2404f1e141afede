#!/usr/bin/env bash
# Registers and spills of the CUDA kernels:   bash bench/registers.sh [sm_80 sm_90 sm_100]
# A line a kernel and a line a function that spills; needs nvcc, but no device.
set -euo pipefail
cd "$(dirname "$0")/../csrc/cuda"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
report() { # report ARCH FILE
  nvcc -std=c++20 -O3 -arch="$1" -Xptxas -v -c "$2" -o "$folder/$1-$2.o" 2>&1 | c++filt | awk -v at="$1 $2" '
    # The name less template arguments and parameters.
    /Function properties for|Compiling entry function/ {
      name = $0
      sub(/.*(Function properties for|Compiling entry function) /, "", name)
      gsub(/\047/, "", name); sub(/ for sm_.*/, "", name)
      gsub(/\(anonymous namespace\)::/, "", name); gsub(/krf::generic::|krf::cuda::|krf::/, "", name)
      deep = /DeepMirror|Family, (\(int\))?1>/ ? " (depth > 2)" : ""; complex = /Complex/ ? " (complex)" : ""
      while (gsub(/<[^<>]*>/, "", name)) ; sub(/\(.*/, "", name); sub(/^(void|double|bool) /, "", name)
      if (/Compiling/) kernel = name deep
    }
    /bytes spill stores/ && $5 > 0 { spills[name deep complex] = $5 }
    /Used [0-9]+ registers/ { print at ": " kernel ": " $5 " registers" }
    END { for (name in spills) print at ":   " name " stores " spills[name] " bytes" }'
}
export -f report
export folder
for arch in "${@:-sm_90}"; do
  for file in *_flow.cu diagonal_limit.cu parts.cu; do
    printf '%s %s\n' "$arch" "$file"
  done
done | xargs -P 2 -L 1 bash -c 'set -o pipefail; report "$@"' _ | sort
