#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The bash completion of fadump-ctl, called as bash calls it. TAP.
#
#   test-ctl-completion.sh COMPLETION PROGRAM

completion=$1
program=$2
n=0
failed=0

# shellcheck source=tools/fadump-ctl/fadump-ctl.bash
. "$completion"

result() {
    n=$((n + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        echo "# expected: $3"
        echo "# got:      $2"
        failed=1
    fi
}

# check EXPECTED WORD...: the words as readline splits them, the last one is
# completed
check() {
    local expected=$1
    shift
    COMP_WORDS=(fadump-ctl "$@")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _fadump_ctl
    # files come in the order of their directory
    result "fadump-ctl $*" "$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)" \
        "$(tr ' ' '\n' <<<"$expected" | sort | xargs)"
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
touch "$dir/core1" "$dir/core2"
mkdir "$dir/crash"
global='--connect --domain --uri --json --timeout --help'

check "status" st
check "release report" re
check "status trigger save release watch report $global --version" ''
check "$global" status ''
check "--wait" trigger --w
check "--filter --fd --no-fd --release --force $global" save --json -
check "--vmlinux" report --v
check "$dir/core1 $dir/core2" -c /sock report "$dir/co"
check "$dir/core1" save --filter "$dir/core1"
check "$dir/core1" save --filter = -c "$dir/core1"
check "" save file "$dir/core1"
check "$dir/crash" watch --save-dir "$dir/c"
check "$dir/crash" watch --save-dir = "$dir/c"
check "$dir/core1 $dir/core2 $dir/crash" --connect = "$dir/"
check "FADUMP_CAPTURED" watch --once FADUMP_C
check "FADUMP_CAPTURED" watch -o = FADUMP_C
check "" --timeout ''
check "" save --filter = ''
check "" bogus ''

# Each option that a command has is completed, and no other
for command in status trigger save release watch report; do
    COMP_WORDS=(fadump-ctl "$command" --)
    COMP_CWORD=2
    _fadump_ctl
    result "options of $command" \
        "$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)" \
        "$("$program" "$command" --help-all |
            sed -n 's/^ *\(-., \)\?\(--[a-z-]*\).*/\2/p' |
            grep -v -- --help- | sort -u | xargs)"
done

echo "1..$n"
exit $failed
