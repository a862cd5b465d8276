#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Measure, and write docs/performance.md; scripts/build.sh has built what it
# needs.
#
#   scripts/bench.sh [--runs N] [--full] [PART...]   (--help lists the parts)
#   scripts/bench.sh --report                        the document only
#
# BENCH (names of parts), RUNS and FULL in the environment stand for the
# arguments, KVER names the guests' kernel (default: 6.1). Raw results are in
# build/bench/PART.json, where each stays until its part is run again.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

main() {
    local args=("$@") kver=${KVER:-6.1} out=$build/bench
    if [ ${#args[@]} -eq 0 ]; then
        [ -z "${RUNS:-}" ] || args+=(--runs "$RUNS")
        case ${FULL:-0} in '' | 0) ;; *) args+=(--full) ;; esac
        # shellcheck disable=SC2206 # several parts may be named
        args+=(${BENCH:-})
    fi
    "$top/scripts/bootstrap.sh" bench
    need_tools gcc
    mkdir -p "$out"
    advice="a compiler error is a defect in tests/bench" \
        run_logged bench-copy gcc -std=gnu11 -O2 -Wall -Wextra -pthread \
        -o "$out/copy" "$top/tests/bench/copy.c"
    export FADUMP_BUILD=$build
    FADUMP_KVER=${kver%% *} exec /usr/bin/python3 "$top/tests/bench/bench.py" "${args[@]}"
}

main "$@"
