#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which lines of QEMU's files of the device run in its unit test, in its qtest,
# in guests without an operating system, and in the fuzzers' corpora. Prints a
# line for each file, and the lines that nothing has run; the report with all
# sources is build/coverage/index.html.
#
#   scripts/coverage.sh [unit] [qtest] [bare] [fuzz] [stream]
#
# Without a name: all of them. FADUMP_COVERAGE_KEEP=1 adds to what was counted
# before.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

qemu=$build/qemu-sanitize
out=$build/coverage

# A test that fails is no reason to know nothing.
count() {
    local name=$1
    shift
    step "counting: $name"
    "$@" >"$out/$name.log" 2>&1 </dev/null ||
        note "$name has failed: see $out/$name.log"
}

guests() {
    FADUMP_BUILD=$build FADUMP_QEMU=$qemu/qemu-system-x86_64 \
        FADUMP_TIMEOUT_SCALE=10 ASAN_OPTIONS=detect_leaks=0 \
        /usr/bin/python3 "$top/tests/avocado/$1.py"
}

run_part() {
    local name
    case $1 in
    unit) count unit "$qemu/tests/unit/test-fadump" ;;
    qtest)
        ASAN_OPTIONS=detect_leaks=0 QTEST_QEMU_BINARY=$qemu/qemu-system-x86_64 \
            count qtest "$qemu/tests/qtest/fadump-test" --tap -k
        ;;
    bare) count bare guests test_bare ;;
    stream) count stream guests test_stream_fuzz ;;
    fuzz)
        for name in device device-swap device-copy device-full device-generic; do
            FADUMP_BUILD=$build count "$name" "$top/tests/fuzz/run.py" "$name" \
                "$qemu/qemu-fuzz-x86_64" --runs 2000
        done
        ;;
    *) die "there is no part '$1' to count" "unit, qtest, bare, fuzz or stream" ;;
    esac
}

# The lines of each file that were compiled and have not run, as "12-15 20"
missed_lines() {
    llvm-cov-14 show "${objects[@]}" -instr-profile="$out/data" "$1" |
        awk -F '|' '
            # where one compile of it has run a line, others do not matter
            $1 + 0 > 0 { n = $1 + 0; gsub(/ /, "", $2)
                         if ($2 == "0") { if (!(n in ran)) miss[n] = 1 }
                         else if ($2 != "") { ran[n] = 1; delete miss[n] }
                         if (n > max) max = n }
            END { for (n = 1; n <= max + 1; n++) {
                      if (n in miss) { if (!from) from = n; to = n }
                      else if (from) { printf " %s", from == to ? from : from "-" to; from = 0 } }
                  print "" }'
}

report() {
    local f src
    llvm-profdata-14 merge -o "$out/data" "$profile"/*.profraw
    objects=("$qemu/qemu-system-x86_64" -object "$qemu/qemu-fuzz-x86_64"
        -object "$qemu/tests/unit/test-fadump")
    src=$(readlink -f "$qemu/../src")
    mapfile -t files < <(cd "$src" && printf "$src/%s\n" hw/misc/fadump-*.c hw/i386/fadump-*.c)
    llvm-cov-14 show -format=html -output-dir="$out" "${objects[@]}" \
        -instr-profile="$out/data" "${files[@]}" >/dev/null
    llvm-cov-14 export -summary-only "${objects[@]}" -instr-profile="$out/data" \
        "${files[@]}" >"$out/summary.json"
    python3 - "$out/summary.json" "$src/" <<'PY'
import json, sys
with open(sys.argv[1], encoding='utf-8') as f:
    data = json.load(f)['data'][0]
def row(name, s):
    lines = s['lines']
    print(f'{name:36} {lines["covered"]:5} of {lines["count"]:5} lines '
          f'{lines["percent"]:6.1f} %')
for file in sorted(data['files'], key=lambda f: f['filename']):
    row(file['filename'].removeprefix(sys.argv[2]), file['summary'])
row('all', data['totals'])
PY
    step "lines that nothing has run"
    for f in "${files[@]}"; do
        printf '%s:%s\n' "${f#"$src"/}" "$(missed_lines "$f")"
    done
}

main() {
    local parts=("$@") part
    [ $# -gt 0 ] || parts=(unit qtest bare fuzz stream)
    need_tools llvm-cov-14 llvm-profdata-14
    "$top/scripts/qemu-sanitize.sh"
    profile=$(readlink -f "$qemu/../profile")
    mkdir -p "$out"
    [ -n "${FADUMP_COVERAGE_KEEP:-}" ] || rm -f "$profile"/*.profraw
    for part in "${parts[@]}"; do
        run_part "$part"
    done
    step "lines of the device's files that have run"
    report
}

main "$@"
