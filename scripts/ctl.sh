#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the operators' tool:
#
#   build/tools/fadump-ctl   -> build/ctl/tools/fadump-ctl/fadump-ctl
#
# The same meson project as the tests', in a directory of its own: that of the
# tests is made anew when there are other tests.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

dir=$build/ctl
program=tools/fadump-ctl/fadump-ctl

need_tools ninja gcc
meson_env
key=$(hash_inputs "$(meson --version)" "$(gcc --version)" "in $top")
if [ "$(cat "$dir/.key" 2>/dev/null)" != "$key" ]; then
    step "configuring fadump-ctl"
    rm -rf "$dir"
    run_logged ctl-setup meson setup -Dfadump_build="$build" "$dir" "$top"
    printf '%s\n' "$key" >"$dir/.key"
fi
advice="a compiler error is a defect in tools/fadump-ctl" \
    run_logged ctl-build ninja -C "$dir" "$program"
mkdir -p "$build/tools"
ln -sfn "$dir/$program" "$build/tools/fadump-ctl"
