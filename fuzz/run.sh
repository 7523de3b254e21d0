#!/usr/bin/env bash
# Runs the fuzz targets: fuzz/run.sh [SECONDS [TARGET...]]
#
# Prints for each target the executions, the coverage and the peak of memory, and fails if one finds
# something; the input then lies in target/fuzz/found, and is run again by
#   target/fuzz/x86_64-unknown-linux-gnu/release/TARGET INPUT
#
#   RUNS=N   ends a target after so many executions, even if time is left
#   SEED=N   begins with this number, so that the same inputs come in the same order (another each time)
#   JOBS=N   so many targets at a time (1)
#   NICE=N   their priority (0)
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
targets=("$@")
(( ${#targets[@]} )) || targets=(safetensors index_json gguf apr config_json tokenizer_json chat_template block_decode block_encode output)

# The flags that `cargo fuzz` passes: coverage, and the address sanitizer. The stable toolchain has
# them, and keeps them to itself unless it is told otherwise.
export RUSTC_BOOTSTRAP=1
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(-Cpasses=sancov-module -Cdebug-assertions -Zsanitizer="${SANITIZER:-address}")
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
RUSTC_WRAPPER=$PWD/fuzz/rustc.sh RUSTFLAGS="${flags[*]}" cargo build --release --locked \
    --manifest-path fuzz/Cargo.toml --target "$host" --target-dir target/fuzz >&2

# One worker, so that an input takes the same time and memory every time.
export RAYON_NUM_THREADS=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:allocator_may_return_null=1}
work=target/fuzz
mkdir -p "$work/found"

run() {
    local target=$1 log=$work/$1.log dictionary len=65536 seeds=fuzz/corpus/$1
    case $target in
        safetensors | index_json) dictionary=json ;;
        gguf) dictionary=gguf ;;
        apr | config_json) dictionary=config ;;
        tokenizer_json) dictionary=tokenizer len=16384 ;;
        chat_template) dictionary=jinja len=4096 seeds=tests/chat ;;
        block_decode | block_encode) len=4096 ;;
        output) len=4096 ;;
    esac
    mkdir -p "$work/corpus/$target"
    # New inputs go to the first folder; the seeds stay as they are. The bound of memory is counted
    # by the target itself, to the byte; that of libFuzzer is for what is outside of it.
    local result=0
    nice -n "${NICE:-0}" "$work/$host/release/$target" "$work/corpus/$target" "$seeds" \
        ${dictionary:+-dict=fuzz/dictionaries/$dictionary.dict} \
        -seed="${SEED:-0}" -max_len=$len -max_total_time="$seconds" -runs="${RUNS:--1}" \
        -timeout="${TIMEOUT:-30}" -malloc_limit_mb=128 -rss_limit_mb=1024 \
        -artifact_prefix="$work/found/$target-" -print_final_stats=1 -verbosity=1 \
        >"$log" 2>&1 || result=$?
    local executions coverage peak
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log" | tail -1)
    coverage=$(grep -oE ' cov: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+' || true)
    printf '%-16s %12s executions  %6s edges  %5s MB peak  %s\n' "$target" "${executions:-?}" \
        "${coverage:-?}" "${peak:-?}" "$([[ $result == 0 ]] && echo ok || echo "FOUND SOMETHING: $log")"
    # Where only this output is kept, it must be enough to run the input again.
    [[ $result == 0 ]] || {
        grep -aE -A12 'panicked at|^memory: |ERROR: ' "$log" | head -n 40
        tail -n +1 "$work/found/$target-"* | base64 | head -n 60
    } >&2
    return "$result"
}
export -f run
export work host seconds

printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-1}" -I{} bash -c 'run {}'
