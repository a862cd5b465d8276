#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Assemble the initramfs of the test guests for each kernel in build/kernels,
# or for those named:
#
#   scripts/initramfs.sh [RELEASE...]
#
#   build/guest/<release>/initramfs.cpio.gz
#   build/guest/bin/           the guests' test programs, with symbols
#   build/guest/tinyboot.elf   a guest without an operating system
#   build/guest/bare.elf       another one, which drives the device itself
#
# It holds busybox, Debian's unmodified makedumpfile and kexec with their
# libraries, the modules that a guest needs, the guest driver (found by its
# modalias, as in an installed system), tests/guest/init as /init, the test
# programs in /bin, and the test modules in /tests. Boots run under TCG, so it
# is kept small.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

packages=(busybox-static makedumpfile kexec-tools libc6 libgcc-s1 libdw1 libelf1 liblzo2-2
    zlib1g libbz2-1.0 liblzma5 libxenmisc4.17 libxencall1 libxendevicemodel1
    libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxentoolcore1
    libxentoollog1)
programs=(/usr/bin/makedumpfile /sbin/kexec)
# Linux 6.10 and later mark slab pages otherwise than by a flag, so Debian 12's
# makedumpfile filters them out of a dump as if they were user memory. Those
# kernels' guests have Debian 13's, with its libraries.
newer_packages=(makedumpfile libc6 libgcc-s1 libdw1t64 libelf1t64 liblzo2-2 zlib1g
    libbz2-1.0 liblzma5 libzstd1)
# makedumpfile --num-threads ends its threads with pthread_exit(), for which
# libc loads it
dlopened=(/lib/x86_64-linux-gnu/libgcc_s.so.1)

# With what these depend on. Loaded by modalias or by name.
modules=(virtio_pci virtio_blk virtio_console virtio_net virtio_rng virtio_scsi
    virtio_balloon virtio_mem ata_piix ahci nvme sd_mod sr_mod ext4 crc32c_generic crc32c_intel
    e1000 e1000e i6300esb iTCO_wdt lpc_ich i2c_i801 pvpanic-pci qemu_fw_cfg)

# What it takes from which suites, unpacked in $root
guest_root() {
    local suites=$1 p v
    shift
    [ ! -f "$root/done" ] || return 0
    step "fetching the guests' programs"
    rm -rf "$root"
    if [ "$suites" = trixie ]; then
        # What a newer Debian's packages rely on
        mkdir -p "$root/usr/lib" "$root/usr/lib64"
        ln -s usr/lib usr/lib64 "$root/"
    fi
    for p; do
        # shellcheck disable=SC2086 # several suites
        v=$(deb_versions "$p" $suites | sed -n 1p)
        [ -n "$v" ] || die "the mirror has no $p" "name another mirror in FADUMP_MIRROR"
        unpack_deb "$root" "$p=$v"
        printf '%s %s\n' "$p" "$v" >>"$root/versions"
    done
    touch "$root/done"
}

# Copy a program or library of the unpacked root with all that it needs.
install_elf() {
    local file=$1 dir=$2 real lib interp path
    [ ! -e "$dir$file" ] || return 0
    real=$root$file
    [ -e "$real" ] || die "$file is in none of the packages ${packages[*]}" \
        "add the package to scripts/initramfs.sh"
    install -D "$(readlink -f "$real")" "$dir$file"
    interp=$(readelf -l "$real" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
    for lib in $interp $(readelf -d "$real" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        path=${lib##*/}
        # Where the loader looks without a cache; the loader itself at its name.
        for path in "/lib64/$path" "/lib/x86_64-linux-gnu/$path" "/usr/lib/x86_64-linux-gnu/$path"; do
            if [ -e "$root$path" ]; then
                install_elf "$path" "$dir"
                continue 2
            fi
        done
        die "$file needs $lib, which is in none of the packages ${packages[*]}" \
            "add the package to scripts/initramfs.sh"
    done
}

common_tree() {
    local release=$1 dir=$2 applet p c
    mkdir -p "$dir"/{bin,sbin,etc,lib,proc,sys,dev,tmp,run,mnt,root,usr/bin,usr/sbin} \
        "$dir/usr/lib/x86_64-linux-gnu"
    # One place for the libraries of either release of Debian
    ln -s ../usr/lib/x86_64-linux-gnu "$dir/lib/x86_64-linux-gnu"
    install "$root/bin/busybox" "$dir/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$dir/bin/$applet"
    done
    # busybox looks for modprobe, mdev and init where Linux does
    ln -sf ../bin/busybox "$dir/sbin/modprobe"
    if dpkg --compare-versions "$release" ge 6.10; then
        # First: what is older runs with newer libraries, too.
        for p in /usr/bin/makedumpfile "${dlopened[@]}"; do
            root=$newer_root install_elf "$p" "$dir"
        done
    fi
    for p in "${programs[@]}" "${dlopened[@]}"; do
        install_elf "$p" "$dir"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/etc/passwd"
    printf 'root:x:0:\n' >"$dir/etc/group"
    install "$top/tests/guest/init" "$dir/init"
    install "$top/tests/guest/port" "$dir/bin/port"
    install "$top/guest/tools/fadump-save" "$top/guest/tools/fadump-descriptor" "$dir/sbin/"
    for c in "$build"/guest/bin/*; do
        [ -f "$c" ] || continue
        install -s "$c" "$dir/bin/"
    done
}

compile_programs() {
    local c key out=$build/guest/bin
    key=$(hash_inputs "$top"/tests/guest/*.[ch] "$top/guest/include" "$(gcc --version)" \
        "$(declare -f compile_programs)")
    [ "$(cat "$out/.key" 2>/dev/null)" != "$key" ] || return 0
    step "compiling the guests' test programs"
    rm -rf "$out"
    mkdir -p "$out"
    for c in "$top"/tests/guest/*.c; do
        [ -f "$c" ] || continue
        advice="a compiler error is a defect in tests/guest" \
            run_logged guest-programs gcc -std=gnu11 -O2 -g -Wall -Wextra -static -pthread \
            -idirafter "$top/guest/include/uapi" -o "$out/$(basename "$c" .c)" "$c"
        cat "$cache/log/guest-programs.log"
    done
    printf '%s\n' "$key" >"$out/.key"
}

# QEMU takes multiboot kernels in ELF32 only, 64-bit code in them or not.
link_multiboot() {
    local out=$1 script=$2
    shift 2
    ld -m elf_x86_64 --build-id=none -z noexecstack --no-warn-rwx-segments -T "$script" \
        -o "$out.64" "$@"
    objcopy -O elf32-i386 "$out.64" "$out"
    rm "$out.64" "$@"
}

tinyboot() {
    local dir=$top/tests/guest/tinyboot
    gcc -c -o "$1.o" "$dir/tinyboot.S"
    link_multiboot "$1" "$dir/tinyboot.ld" "$1.o"
}

bare() {
    local f objects=()
    for f in "$top"/tests/guest/bare/*.[cS]; do
        gcc -c -std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-pic -no-pie \
            -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
            -mno-red-zone -mgeneral-regs-only -fno-tree-loop-distribute-patterns \
            -idirafter "$top/guest/include/uapi" -o "$1.$(basename "$f").o" "$f"
        objects+=("$1.$(basename "$f").o")
    done
    link_multiboot "$1" "$top/tests/guest/bare/bare.ld" "${objects[@]}"
}

# The guests without an operating system: tinyboot and bare
compile_without_system() {
    local key name=$1 out=$build/guest/$1.elf
    key=$(hash_inputs "$top/tests/guest/$name" "$top/guest/include/uapi" "$(gcc --version)" \
        "$(declare -f link_multiboot "$name")")
    [ "$(cat "$out.key" 2>/dev/null)" != "$key" ] || return 0
    step "compiling the guest $name"
    advice="an error is a defect in tests/guest/$name" run_logged "$name" "$name" "$out"
    printf '%s\n' "$key" >"$out.key"
}

# Copy the named modules and what they need; an absent one is built in or this
# kernel has it not.
install_modules() {
    local release=$1 dir=$2 from to mod file rel
    from=$(readlink -f "$build/kernels/$release/modules")
    to=$dir/lib/modules/$release
    mkdir -p "$to/extra"
    # modprobe -d takes a root above lib/modules; an installed kernel's is /
    for mod in "${modules[@]}"; do
        modprobe -d "${from%/lib/modules/*}/" -S "$release" --show-depends -i --ignore-install \
            "$mod" 2>/dev/null || :
    done | awk '$1 == "insmod" { print $2 }' | sort -u >"$dir.modules"
    while IFS= read -r file; do
        rel=${file#*/lib/modules/"$release"/}
        install -D -m 644 "$from/$rel" "$to/$rel"
        case $rel in
        # What busybox and every kernel can load
        *.xz) xz -df "$to/$rel" ;;
        *.zst) zstd -q -d --rm -f "$to/$rel" ;;
        *.gz) gzip -df "$to/$rel" ;;
        esac
    done <"$dir.modules"
    rm "$dir.modules"
    cp "$from"/modules.builtin "$from"/modules.order "$to/"
    [ ! -f "$from/modules.builtin.modinfo" ] || cp "$from/modules.builtin.modinfo" "$to/"
    for file in "$build/guest/$release"/fadump*.ko "$build/guest/$release"/tests/*.ko; do
        [ -f "$file" ] || continue
        cp "$file" "$to/extra/"
        strip --strip-debug "$to/extra/$(basename "$file")"
    done
    mkdir "$dir/tests"
    for file in "$build/guest/$release"/tests/*.ko; do
        [ ! -f "$file" ] || ln -s "/lib/modules/$release/extra/$(basename "$file")" "$dir/tests/"
    done
    # Those that depmod only has for its own use are a third of it all.
    depmod -b "$dir" "$release"
    rm -f "$to"/modules.order "$to"/modules.builtin* "$to"/*.bin "$to/modules.devname"
}

pack() {
    local dir=$1 out=$2
    # The same tree gives the same file, byte for byte.
    find "$dir" -exec touch -h -d @0 {} +
    (
        cd "$dir"
        find . -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0 --reproducible
    ) | gzip -n -1 >"$out.new"
    mv "$out.new" "$out"
}

build_one() {
    local release=$1 out=$build/guest/$1 dir key
    [ -f "$out/fadump-virtio.ko" ] ||
        die "build/guest/$release has no driver" "run scripts/guest-module.sh $release"
    key=$(hash_inputs "${BASH_SOURCE[0]}" "$top"/tests/guest/{init,port} "$build/guest/bin" \
        "$top"/guest/tools/fadump-{save,descriptor} \
        "$out"/fadump*.ko "$out/tests" "roots $root $newer_root" \
        "kernel $(readlink -f "$build/kernels/$release")")
    [ "$(cat "$out/initramfs.key" 2>/dev/null)" != "$key" ] || return 0
    step "assembling the initramfs for $release"
    rm -f "$out/initramfs.key"
    dir=$out/initramfs
    rm -rf "$dir"
    common_tree "$release" "$dir"
    install_modules "$release" "$dir"
    [ -d "$dir/lib/modules/$release/kernel" ] ||
        die "no modules of $release were found" "delete $(readlink -f "$build/kernels/$release") and run scripts/kernel.sh"
    pack "$dir" "$out/initramfs.cpio.gz"
    note "$(du -sh --apparent-size "$dir" | cut -f1) unpacked, $(du -h --apparent-size "$out/initramfs.cpio.gz" | cut -f1) packed"
    rm -rf "$dir"
    printf '%s\n' "$key" >"$out/initramfs.key"
}

main() {
    local releases=("$@") link
    PATH=$PATH:/usr/sbin:/sbin
    if [ ${#releases[@]} -eq 0 ]; then
        for link in "$build"/kernels/*/; do
            [ ! -d "$link" ] || releases+=("$(basename "$link")")
        done
    fi
    [ ${#releases[@]} -gt 0 ] || die "there is no kernel in build/kernels" "run scripts/kernel.sh"
    need_tools gcc ld objcopy cpio gzip xz depmod modprobe readelf strip
    mkdir -p "$cache/guestroot" "$build/guest"
    root=$cache/guestroot/$(hash_inputs "${packages[@]}")
    newer_root=$cache/guestroot/$(hash_inputs "${newer_packages[@]}" merged-usr)
    with_lock guestroot guest_root "bookworm bookworm-security" "${packages[@]}"
    root=$newer_root with_lock guestroot guest_root trixie "${newer_packages[@]}"
    compile_programs
    compile_without_system tinyboot
    compile_without_system bare
    for link in "${releases[@]}"; do
        build_one "$link"
    done
}

# systemd-guest.sh takes what it needs from here.
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
