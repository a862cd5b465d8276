#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Crash a guest and show its dump; scripts/build.sh has built what it needs.
#
#   scripts/demo.sh
#
# KVER in the environment names the guest's kernel (default: 6.1). What the
# demonstration leaves is in build/demo.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export FADUMP_BUILD=$build
kver=${KVER:-6.1}
FADUMP_KVER=${kver%% *} exec /usr/bin/python3 "$top/tests/demo.py"
