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
#   scripts/check.sh unit|guest|soak  those suites
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
    # The list of tests is made when meson configures.
    key=$(hash_inputs "$(find "$top/tests" -name '*.py' -o -name meson.build | sort)" \
        "$(grep -l -E '\b(SOAK|FULL_MATRIX)\b' "$top"/tests/avocado/test_*.py 2>/dev/null || :)" \
        "$(meson --version)" "$(readlink -f "$build/qemu")" "$top")
    if [ "$(cat "$meson_dir/.key" 2>/dev/null)" != "$key" ]; then
        step "configuring the tests"
        rm -rf "$meson_dir"
        run_logged meson-setup meson setup -Dfadump_build="$build" "$meson_dir" "$top"
        printf '%s\n' "$key" >"$meson_dir/.key"
    fi
    step "building the unit tests"
    run_logged meson-compile meson compile -C "$meson_dir"
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
            args+=("${t%.py}")
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
    meson test -C "$meson_dir" --no-rebuild --print-errorlogs "${args[@]}" || rc=$?
    step "done; each test's output: $meson_dir/meson-logs/testlog.txt, the guests' logs: $build/tests"
    /usr/bin/python3 "$top/scripts/count-tests.py" "$meson_dir/meson-logs" || rc=1
    exit "$rc"
}

main "$@"
