# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by the tests of packages: cases, as TAP, in a Debian 12 system below
# $dir/root, which the test makes (scripts/chroot.sh). $n counts them, $failed is 1
# once one has failed, and $log has what the last one said.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"
if [ "$(id -u)" -ne 0 ] || ! command -v mmdebstrap >/dev/null; then
    echo "1..0 # SKIP needs root and mmdebstrap"
    exit 0
fi
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/chroot.sh
. "$top/scripts/chroot.sh"

n=0
failed=0

# try NAME SCRIPT: a case, run by bash in the system; what it says is shown where
# it fails
# shellcheck disable=SC2034,SC2154 # the test sets dir and log, and ends with failed
try() {
    n=$((n + 1))
    if chroot_run "$dir/root" bash -euo pipefail -c "$2" >"$log" 2>&1 </dev/null; then
        echo "ok $n - $1"
    else
        tail -n 40 "$log" | sed 's/^/# /'
        echo "not ok $n - $1"
        failed=1
    fi
}
