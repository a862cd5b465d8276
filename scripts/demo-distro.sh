#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Crash an installed Debian with our packages, and show how it comes back;
# scripts/build.sh has built QEMU and tools.
#
#   scripts/demo-distro.sh
#
# SUITE in the environment names the Debian: bookworm (the default) or trixie. With
# COMPARE=1 plain kdump and Debian's kdump-tools crash in the same run. What the
# demonstration leaves is in build/demo-distro.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export FADUMP_BUILD=$build SUITE=${SUITE:-bookworm} COMPARE=${COMPARE:-}
images=("$SUITE")
[ -z "$COMPARE" ] || images+=("$SUITE-plain-kdump" "$SUITE-driver-kdump")

"$top/scripts/guest-packages.sh"
"$top/scripts/distro-image.sh" "${images[@]}"
exec /usr/bin/python3 "$top/tests/demo_distro.py"
