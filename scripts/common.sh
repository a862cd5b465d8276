# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by every build script:
#
#   . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
#
# It sets $top (this checkout), $build (results, inside the checkout unless
# FADUMP_BUILD says otherwise), $cache (what is fetched or built once for all
# checkouts, outside the tree) and the helpers below.

# With pipefail a reader that stops early (head -n 1, grep -q, awk's exit) may
# fail the pipe, now and then: what it reads from is killed by SIGPIPE. So read
# to the end: sed -n 1p, grep >/dev/null.
set -euo pipefail
# A pipe or a glob behaves the same whatever the user's locale is, and the
# messages of tools that are parsed are in English.
export LC_ALL=C.UTF-8

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=${FADUMP_BUILD:-$top/build}
cache=${FADUMP_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or FADUMP_CACHE, to a directory for the cache}/.cache}/fadump-dev}
mkdir -p "$build" "$cache/log" "$cache/lock"
build=$(cd "$build" && pwd -P)
cache=$(cd "$cache" && pwd -P)

# One clock for all the scripts of one `make`, so that the times add up.
export FADUMP_T0=${FADUMP_T0:-$(date +%s)}

# How many jobs a compile may run; all processors unless the user says else.
export JOBS=${JOBS:-$(nproc)}

if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
    _bold=$'\e[1m' _dim=$'\e[2m' _red=$'\e[31m' _off=$'\e[0m'
else
    _bold='' _dim='' _red='' _off=''
fi

# elapsed: time since the first script of this run started, as m:ss
elapsed() {
    local s=$(($(date +%s) - FADUMP_T0))
    printf '%d:%02d' $((s / 60)) $((s % 60))
}

# step TEXT: say what is being done now
step() {
    printf '%s[%5s]%s %s%s%s\n' "$_dim" "$(elapsed)" "$_off" "$_bold" "$*" "$_off"
}

# note TEXT: a detail of the current step
note() {
    printf '        %s\n' "$*"
}

# die WHAT [WHAT-TO-DO]: stop, say what went wrong and what the user can do
die() {
    printf '\n%serror:%s %s\n' "$_red" "$_off" "$1" >&2
    if [ -n "${2:-}" ]; then
        printf '  what to do: %s\n' "$2" >&2
    fi
    exit 1
}

# run_logged NAME COMMAND...: run with the output in $cache/log/NAME.log. On
# failure show its end and stop; $advice, if set, says what to do about it. On
# a terminal a line that counts seconds shows that it lives.
run_logged() {
    local name=$1 log="$cache/log/$1.log" rc=0 pid start
    shift
    start=$(date +%s)
    # In the background, and not as `"$@" || rc=$?`, because the latter would
    # switch errexit off inside a function. In a process group of its own, so
    # that an interrupt can end all of it.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    # shellcheck disable=SC2064 # the pid of now is meant
    trap "kill -- -$pid 2>/dev/null; exit 130" INT TERM HUP
    if [ -t 1 ]; then
        while kill -0 "$pid" 2>/dev/null; do
            printf '\r\e[K        %s: %ds  %.60s' "$name" "$(($(date +%s) - start))" \
                "$(tail -n 1 "$log" 2>/dev/null | tr -cd '[:print:]')"
            sleep 0.2
        done
        printf '\r\e[K'
    fi
    wait "$pid" || rc=$?
    trap - INT TERM HUP
    if [ "$rc" -ne 0 ]; then
        {
            printf '\n--- the last lines of %s ---\n' "$log"
            tail -n 30 "$log"
            printf -- '--- end ---\n'
        } >&2
        die "step '$name' failed (exit status $rc): $*" \
            "${advice:-read the log above; the whole of it is in $log}"
    fi
}

# with_lock NAME COMMAND...: run (a function of the script will do) while no
# other checkout that shares the cache does the same. A lock does not nest in
# itself. It goes with the process if the command fails.
with_lock() {
    local name=$1 fd rc
    shift
    exec {fd}>"$cache/lock/$name"
    if ! flock -n "$fd"; then
        note "waiting for another build that holds the lock '$name'" >&2
        flock "$fd"
    fi
    # not `|| rc=$?`: that would switch errexit off inside the command
    "$@"
    rc=$?
    exec {fd}>&-
    return "$rc"
}

# hash_inputs FILE|STRING...: 16 hex digits that change when any of the inputs
# does. An argument that names a file stands for its name (without the path of
# the checkout) and content, one that names a directory for all files in it;
# anything else is a string.
hash_inputs() {
    local a f
    {
        for a; do
            if [ -d "$a" ]; then
                while IFS= read -r -d '' f; do
                    printf 'file %s ' "${f#"$top"/}"
                    if [ -x "$f" ]; then printf 'x '; fi
                    sha256sum <"$f"
                done < <(find "$a" -type f ! -name '*.pyc' -print0 | sort -z)
            elif [ -f "$a" ]; then
                printf 'file %s ' "${a#"$top"/}"
                sha256sum <"$a"
            else
                printf 'string %s\n' "$a"
            fi
        done
    } | sha256sum | cut -c1-16
}

# need_tools COMMAND...: stop with advice when one is absent
need_tools() {
    local t missing=()
    for t; do
        command -v "$t" >/dev/null 2>&1 || missing+=("$t")
    done
    [ ${#missing[@]} -eq 0 ] ||
        die "these commands are missing: ${missing[*]}" \
            "run scripts/bootstrap.sh, which installs the packages that hold them"
}
