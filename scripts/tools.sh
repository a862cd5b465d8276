#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The tools of the host side, fetched from Debian and unpacked in the cache,
# each with the C library of its own release, so that they run here whatever
# is installed:
#
#   build/tools/crash          Debian 13's: it shows all tasks of a 6.1 dump,
#                              which Debian 12's does not
#   build/tools/crash-newest   Debian's newest, for kernels that the former
#                              cannot read
#   build/tools/makedumpfile   Debian 12's, the one that the guests have
#   build/tools/python         modules for the tests (pycotap)

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

crash_packages=(crash libc6 libgcc-s1 libstdc++6 liblzo2-2 libncursesw6
    libtinfo6 libsnappy1v5 libzstd1 zlib1g)
crash_newest_packages=("${crash_packages[@]}" libgmp10 libmpfr6)
makedumpfile_packages=(makedumpfile libc6 libdw1 libelf1 liblzo2-2 zlib1g
    libbz2-1.0 liblzma5)

# A command that runs PROGRAM of an unpacked tree with that tree's libraries.
# Through the loader, not LD_LIBRARY_PATH: what the program starts in its turn
# must get the system's.
wrapper() {
    local dir=$1 name=$2 program=$3
    cat >"$dir/$name" <<END
#!/bin/sh
exec $dir/root/lib64/ld-linux-x86-64.so.2 --argv0 ${name%-newest} \\
    --library-path $dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu \\
    $dir/root$program "\$@"
END
    chmod +x "$dir/$name"
}

# get_tool NAME PROGRAM OPTION SUITES PACKAGE...: unpack, wrap, check that it
# runs: OPTION has it print its version
get_tool() {
    local name=$1 program=$2 option=$3 suites=$4 dir p v
    shift 4
    dir=$cache/tools/$name-$(hash_inputs "$program" "$suites" "$*" "$(declare -f wrapper get_tool)")
    if [ ! -f "$dir/done" ]; then
        step "fetching $name"
        rm -rf "$dir"
        mkdir -p "$dir/root"
        for p; do
            # shellcheck disable=SC2086 # a list of suites
            v=$(deb_versions "$p" $suites | sed -n 1p)
            [ -n "$v" ] ||
                die "the mirror has no $p in $suites" "name another mirror in FADUMP_MIRROR"
            unpack_deb "$dir/root" "$p=$v"
        done
        # Debian 13's packages rely on the merged /usr
        [ -e "$dir/root/lib64" ] || ln -s usr/lib64 "$dir/root/lib64"
        wrapper "$dir" "$name" "$program"
        "$dir/$name" "$option" >"$dir/version" 2>&1 </dev/null || :
        # the option prints "makedumpfile: version 1.7.2", "crash 8.0.6"
        grep -q "^${name%-newest}.* [1-9]" "$dir/version" ||
            die "$name does not run: $(head -n 3 "$dir/version")" \
                "delete $dir and run again; if that does not help, this machine lacks something that $name needs"
        touch "$dir/done"
    fi
    ln -sfn "$dir/$name" "$build/tools/$name"
}

get_python() {
    local dir=$cache/tools/python
    if [ ! -f "$dir/done" ]; then
        step "fetching Python modules for the tests"
        rm -rf "$dir"
        unpack_deb "$dir/root" python3-pycotap/bookworm-backports
        PYTHONPATH=$dir/root/usr/lib/python3/dist-packages \
            /usr/bin/python3 -c 'import pycotap' ||
            die "pycotap cannot be imported" "delete $dir and run again"
        touch "$dir/done"
    fi
    ln -sfn "$dir/root/usr/lib/python3/dist-packages" "$build/tools/python"
}

all() {
    get_tool crash /usr/bin/crash --version trixie "${crash_packages[@]}"
    get_tool makedumpfile /usr/bin/makedumpfile -v "bookworm bookworm-security" \
        "${makedumpfile_packages[@]}"
    get_python
    apt_use amd64 sid
    get_tool crash-newest /usr/bin/crash --version sid "${crash_newest_packages[@]}"
}

mkdir -p "$build/tools" "$cache/tools"
# distro-image.sh takes what it needs from here.
[ "${BASH_SOURCE[0]}" != "$0" ] || with_lock tools all
