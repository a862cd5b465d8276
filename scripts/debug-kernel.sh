#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build a small guest kernel that watches itself (lockdep, KASAN, DEBUG_VM and
# such) from Debian's source of 6.12, for tests/avocado/test_debug_kernel.py.
# It takes a quarter of an hour of one processor, once: it is kept in the
# cache. Laid out as kernel.sh does it:
#
#   build/kernels/<release>-debug/
#
# and added to build/kernels.used.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

package=linux-source-6.12
suites=(bookworm-security bookworm-backports)

# On top of `make tinyconfig`
config_wanted() {
    cat <<'END'
# what runs a guest of these tests
CONFIG_64BIT=y
CONFIG_SMP=y
CONFIG_NR_CPUS=8
CONFIG_PREEMPT=y
CONFIG_PRINTK=y
CONFIG_PRINTK_TIME=y
CONFIG_BUG=y
CONFIG_FUTEX=y
CONFIG_EPOLL=y
CONFIG_SIGNALFD=y
CONFIG_TIMERFD=y
CONFIG_EVENTFD=y
CONFIG_POSIX_TIMERS=y
CONFIG_MULTIUSER=y
CONFIG_BLK_DEV_INITRD=y
CONFIG_RD_GZIP=y
CONFIG_BINFMT_ELF=y
CONFIG_BINFMT_SCRIPT=y
CONFIG_PROC_FS=y
CONFIG_PROC_SYSCTL=y
CONFIG_SYSFS=y
CONFIG_SHMEM=y
CONFIG_TMPFS=y
CONFIG_DEVTMPFS=y
CONFIG_DEBUG_FS=y
CONFIG_DEVMEM=y
CONFIG_TTY=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_NET=y
CONFIG_UNIX=y
CONFIG_HPET_TIMER=y
CONFIG_ACPI=y
CONFIG_PCI=y
CONFIG_PCI_MSI=y
CONFIG_VIRTIO_MENU=y
CONFIG_VIRTIO_PCI=y
CONFIG_BLOCK=y
CONFIG_BLK_DEV=y
CONFIG_VIRTIO_BLK=y
CONFIG_EXT4_FS=y
CONFIG_CRYPTO=y
CONFIG_FW_CFG_SYSFS=y
CONFIG_MAGIC_SYSRQ=y
CONFIG_KALLSYMS_ALL=y
CONFIG_RELOCATABLE=y
CONFIG_RANDOMIZE_BASE=y
# one that is a module, for there is no guest without
CONFIG_VIRTIO_BALLOON=m
# what the driver needs
CONFIG_MODULES=y
CONFIG_MODULE_UNLOAD=y
CONFIG_KPROBES=y
CONFIG_KEXEC=y
CONFIG_CRASH_DUMP=y
CONFIG_SPARSEMEM_VMEMMAP=y
CONFIG_MEMORY_HOTPLUG=y
CONFIG_MEMORY_HOTREMOVE=y
CONFIG_COMPACTION=y
# what watches, and not with a small allocator
CONFIG_SLUB_TINY=n
CONFIG_DEBUG_KERNEL=y
CONFIG_PROVE_LOCKING=y
CONFIG_DEBUG_ATOMIC_SLEEP=y
CONFIG_DEBUG_VM=y
CONFIG_DEBUG_VM_PGFLAGS=y
CONFIG_DEBUG_VIRTUAL=y
CONFIG_DEBUG_LIST=y
CONFIG_KASAN=y
CONFIG_KASAN_GENERIC=y
CONFIG_KASAN_OUTLINE=y
CONFIG_KASAN_VMALLOC=y
CONFIG_SCHED_STACK_END_CHECK=y
CONFIG_DETECT_HUNG_TASK=y
CONFIG_SOFTLOCKUP_DETECTOR=y
CONFIG_STACKTRACE=y
END
}

kmake() {
    env -u CFLAGS -u KCFLAGS -u LDFLAGS -u CROSS_COMPILE -u ARCH -u MAKEFLAGS -u MFLAGS \
        KBUILD_BUILD_USER=fadump-dev KBUILD_BUILD_HOST=fadump-dev \
        nice -n 19 make -C "$dir/src" O="$dir/build" LOCALVERSION=-debug -j"$JOBS" "$@"
}

configure() {
    local line missing=()
    mkdir -p "$dir/build"
    kmake tinyconfig
    config_wanted | grep '^CONFIG' >>"$dir/build/.config"
    kmake olddefconfig
    while read -r line; do
        [[ $line = *=n ]] || grep -xF "$line" "$dir/build/.config" >/dev/null ||
            missing+=("$line")
    done < <(config_wanted | grep '^CONFIG')
    # kbuild drops without a word what depends on something that is not there.
    [ ${#missing[@]} -eq 0 ] || {
        echo "not to be had with the rest: ${missing[*]}"
        return 1
    }
}

unpack_source() {
    unpack_deb "$dir/deb" "$package=$version"
    mkdir -p "$dir/src"
    tar -C "$dir/src" --strip-components=1 --exclude='*/Documentation/*/*' -xf \
        "$dir/deb/usr/src/$package.tar.xz"
    rm -rf "$dir/deb"
}

# What modules are built against stays, a tenth of it all.
tidy() {
    (cd "$dir/src" && rm -rf block crypto drivers fs init io_uring ipc kernel lib mm net \
        rust samples security sound usr virt)
    find "$dir/build" \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' \) \
        ! -path '*/scripts/*' ! -path '*/tools/*' -delete
    rm -f "$dir"/build/.tmp_* "$dir/build/vmlinux.unstripped"
}

build_kernel() {
    [ ! -f "$dir/version" ] || return 0
    step "building the debug kernel ($package $version)"
    note "this takes a quarter of an hour of one processor, once"
    rm -rf "$dir"
    mkdir -p "$dir"
    run_logged debug-kernel-unpack unpack_source
    run_logged debug-kernel-configure configure
    run_logged debug-kernel-build kmake bzImage modules
    kmake -s kernelrelease >"$dir/release"
    run_logged debug-kernel-install kmake INSTALL_MOD_PATH="$dir/root" modules_install
    release=$(sed -n '$p' "$dir/release")
    ln -s build/arch/x86/boot/bzImage "$dir/vmlinuz"
    ln -s build/vmlinux "$dir/vmlinux"
    ln -s build/.config "$dir/config"
    ln -s "root/lib/modules/$release" "$dir/modules"
    ln -s build "$dir/headers"
    tidy
    printf '%s\n' "$release" >"$dir/release"
    printf '%s\n' "$version" >"$dir/version"
}

main() {
    version=$(deb_versions "$package" "${suites[@]}" | sed -n 1p)
    [ -n "$version" ] ||
        die "the mirror has no $package" "name another mirror in FADUMP_MIRROR"
    need_tools gcc make flex bison bc xz
    mkdir -p "$cache/kernels" "$build/kernels"
    dir=$cache/kernels/debug-$(hash_inputs "$version" "$(gcc --version)" \
        "$(declare -f config_wanted configure kmake tidy build_kernel)")
    with_lock debug-kernel build_kernel
    release=$(cat "$dir/release")
    ln -sfn "$dir" "$build/kernels/$release"
    grep -xF "$release" "$build/kernels.used" >/dev/null 2>&1 ||
        printf '%s\n' "$release" >>"$build/kernels.used"
}

main "$@"
