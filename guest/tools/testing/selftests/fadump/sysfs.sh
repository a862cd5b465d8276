#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The files of firmware-assisted dump in a guest that has a device for it and no
# dump: /sys/kernel/fadump is to look and to answer as powerpc's does. Nothing
# crashes. Registers and unregisters, and leaves it as it was.

DIR="$(dirname "$(readlink -f "$0")")"
# shellcheck source=/dev/null
. "${KTAP_HELPERS:-$DIR/../kselftest/ktap_helpers.sh}"

FADUMP=/sys/kernel/fadump

# $1: what is tested; $2...: a command that succeeds if it is so
check() {
	what=$1
	shift
	if "$@"; then
		ktap_test_pass "$what"
	else
		ktap_test_fail "$what"
	fi
}

mode_is() {
	[ "$(stat -L -c %a "$1" 2>/dev/null)" = "$2" ]
}

reads() {
	[ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

is_number() {
	grep -Eqx '[0-9]+' "$1"
}

# $1: value; $2: file; $3: the error that it is refused with
refuses() {
	err=$( (echo "$1" >"$2") 2>&1) && return 1
	case $err in
	*"$3"*) return 0 ;;
	esac
	return 1
}

absent() {
	[ ! -e "$1" ] && [ ! -L "$1" ]
}

registers() {
	echo "$1" >$FADUMP/registered 2>/dev/null && reads $FADUMP/registered "$1"
}

ktap_print_header

if [ "$(id -u)" != 0 ]; then
	ktap_skip_all "root runs this"
	exit "$KSFT_SKIP"
fi
if [ ! -d $FADUMP ]; then
	ktap_skip_all "there is no $FADUMP: no device, or no driver"
	exit "$KSFT_SKIP"
fi
if [ -e $FADUMP/release_mem ]; then
	ktap_skip_all "a dump is held: save and release it first"
	exit "$KSFT_SKIP"
fi
if ! reads $FADUMP/enabled 1; then
	ktap_skip_all "it is not enabled"
	exit "$KSFT_SKIP"
fi

was=$(cat $FADUMP/registered)
ktap_set_plan 23

check "enabled is read-only" mode_is $FADUMP/enabled 444
check "registered can be written" mode_is $FADUMP/registered 644
check "mem_reserved is read-only" mode_is $FADUMP/mem_reserved 444
check "hotplug_ready is read-only" mode_is $FADUMP/hotplug_ready 444
check "mem_reserved is a number" is_number $FADUMP/mem_reserved
check "hotplug_ready is 1" reads $FADUMP/hotplug_ready 1
check "kdump_first is read-only" mode_is $FADUMP/kdump_first 444
check "kdump_first is a number" is_number $FADUMP/kdump_first
check "fadump_enabled is a link" test -L /sys/kernel/fadump_enabled
check "fadump_registered is a link" test -L /sys/kernel/fadump_registered
check "it says the same" reads /sys/kernel/fadump_registered "$was"
check "no release_mem without a dump" absent $FADUMP/release_mem
check "no link to it" absent /sys/kernel/fadump_release_mem
check "no discard without a dump" absent $FADUMP/discard
check "nothing is promised to append" absent $FADUMP/bootargs_append
check "2 is refused" refuses 2 $FADUMP/registered "Invalid argument"
check "-1 is refused" refuses -1 $FADUMP/registered "Invalid argument"
check "a word is refused" refuses yes $FADUMP/registered "Invalid argument"
check "a refusal changes nothing" reads $FADUMP/registered "$was"
check "unregisters" registers 0
check "unregisters twice" registers 0
check "registers" registers 1
check "registers anew" registers 1

echo "$was" >$FADUMP/registered

ktap_finished
