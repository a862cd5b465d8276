#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run tests that have been built for (scripts/build.sh). The last line is
#
#   N passed, N failed, N skipped
#
# counted in test cases, and the exit status is not 0 if one failed.
#
#   scripts/check.sh                  suites unit and guest
#   scripts/check.sh unit|guest|full|distro
#                                     those suites; full has what guest has, too
#
# GUESTS in the environment says how many guest tests run side by side.
#
# TEST in the environment names tests instead, as the file (test_panic) or as
# unittest does (test_panic.Panic.test_sysrq).

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

meson_dir=$build/meson

setup() {
    local key
    # The list of tests is made when meson configures. Of the directories only
    # where they are counts.
    key=$(hash_inputs "$(find "$top/tests" -name meson.build | sort)" \
        "$("$top/scripts/list-tests.py")" \
        "$(meson --version)" "at $(readlink -f "$build/qemu")" \
        "at $(readlink -f "$build/qemu-10.2" || :)" "at $top")
    if [ "$(cat "$meson_dir/.key" 2>/dev/null)" != "$key" ]; then
        step "configuring the tests"
        rm -rf "$meson_dir"
        run_logged meson-setup meson setup -Dfadump_build="$build" "$meson_dir" "$top"
        printf '%s\n' "$key" >"$meson_dir/.key"
    fi
    step "building the unit tests"
    run_logged meson-compile meson compile -C "$meson_dir"
}

# One for each processor (a guest has more, but they are rarely busy), as far as
# memory goes: the largest guests fill 6 GiB
guests_at_a_time() {
    local jobs gib
    jobs=$(nproc)
    gib=$(awk '/^MemTotal/ { print int($2 / 1048576) }' /proc/meminfo)
    [ "$jobs" -le $((gib / 8)) ] || jobs=$((gib / 8))
    [ "$jobs" -ge 1 ] || jobs=1
    echo "${GUESTS:-$jobs}"
}

main() {
    local suites=() args=() t rc=0 case_dir="$top/tests/avocado"
    # What the guest tests take when they name no kernel themselves
    [ -z "${KVER:-}" ] || export FADUMP_KVER=${FADUMP_KVER:-${KVER%% *}}
    export FADUMP_BUILD=$build
    need_tools ninja gcc
    meson_env
    if [ -n "${TEST:-}" ] && [[ $TEST == test_*.* && $TEST != *.py ]]; then
        # One class or one case: meson knows files only.
        step "running $TEST"
        cd "$case_dir"
        # shellcheck disable=SC2086 # several may be named
        /usr/bin/python3 -m unittest -v $TEST 2>&1 | tee "$build/check.log" || rc=$?
        /usr/bin/python3 "$top/scripts/count-tests.py" --unittest "$build/check.log" || rc=1
        exit "$rc"
    fi
    setup
    if [ -n "${TEST:-}" ]; then
        for t in $TEST; do
            t=${t##*/}
            t=${t%.py}
            # of a file whose classes are tests, all
            ! grep -q "^$t\." <<<"$("$top/scripts/list-tests.py")" || t+='.*'
            args+=("$t")
        done
        step "running ${args[*]}"
    else
        suites=("$@")
        [ ${#suites[@]} -gt 0 ] || suites=(unit guest)
        for t in "${suites[@]}"; do
            args+=(--suite "$t")
        done
        step "running the suites ${suites[*]}"
    fi
    rm -f "$meson_dir"/meson-logs/testlog.{json,junit.xml}
    meson test -C "$meson_dir" --no-rebuild --print-errorlogs \
        --num-processes "$(guests_at_a_time)" "${args[@]}" || rc=$?
    step "done; each test's output: $meson_dir/meson-logs/testlog.txt, the guests' logs: $build/tests"
    /usr/bin/python3 "$top/scripts/count-tests.py" "$meson_dir/meson-logs" || rc=1
    exit "$rc"
}

main "$@"
