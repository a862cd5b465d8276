#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build libvirt with the element <fadump/>: upstream's source, which is in Debian
# 13's source package, with the patches under libvirt-xml/patches/. Leaves
#
#   build/libvirt -> a build directory, from which virsh and the daemon run
#
# Nothing is installed.
#
#   scripts/libvirt-build.sh          what the tests with guests need
#   scripts/libvirt-build.sh full     all of it
#   scripts/libvirt-build.sh stock    what the tests with guests need, without our
#                                     patches, as build/libvirt-stock
#   scripts/libvirt-build.sh test     and run libvirt's own tests
#   scripts/libvirt-build.sh each     a series as upstream wants it: build and
#                                     test with the first patch, with the first
#                                     two, and so on
#   scripts/libvirt-build.sh syntax   libvirt's own check of its style

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

setup_opts=(
    --wrap-mode=nodownload -Dauto_features=disabled -Dwerror=true
    -Ddriver_qemu=enabled -Ddriver_remote=enabled -Ddriver_libvirtd=enabled
    -Ddriver_lxc=enabled -Ddriver_test=enabled -Djson_c=enabled -Dlibnl=enabled
    -Dcapng=enabled -Dnumactl=enabled -Dreadline=enabled -Dpciaccess=enabled
    -Dudev=enabled -Dtests=enabled -Ddocs=enabled -Dinit_script=none
    -Dqemu_user=root -Dqemu_group=root
)

targets=(src/virtqemud src/virtlogd src/libvirt_driver_qemu.so tools/virsh)

# How many builds of other patches stay in the cache
keep_builds=4

patches=("$top"/libvirt-xml/patches/*.patch)

select_version() {
    local memory=$cache/libvirt/version
    version=$(private_apt_cache madison libvirt |
        awk '$3 ~ /^11[.]3[.]/ && /Sources$/ && !v { v = $3 } END { print v }')
    if [ -n "$version" ]; then
        printf '%s\n' "$version" >"$memory"
    elif [ -f "$memory" ]; then
        version=$(cat "$memory")
    else
        die "no libvirt 11.3 source package in Debian 13 on the mirror" \
            "name another mirror in FADUMP_MIRROR"
    fi
}

# Of the source package only the tarball is upstream's, and only that is needed.
download() {
    local uri=$1 file=$2 sum=$3
    /usr/lib/apt/apt-helper -c "$apt_dir/apt.conf" download-file "$uri" "$file" "$sum"
}

fetch() {
    local dir=$1 uri file sum
    [ ! -f "$dir/meson.build" ] || return 0
    step "fetching the source of libvirt ${version%%-*}"
    read -r uri file sum < <(private_apt_get source --print-uris "libvirt=$version" 2>/dev/null |
        awk '$2 ~ /[.]orig[.]tar[.][a-z0-9]+$/ { gsub(/\x27/, "", $1); print $1, $2, $4 }') ||
        die "the mirror does not say where the source of libvirt $version is" \
            "refresh the lists with FADUMP_APT_AGE=0"
    rm -rf "$dir" "$dir.new"
    mkdir -p "$dir.new"
    run_logged libvirt-fetch download "$uri" "$cache/libvirt/$file" "$sum"
    run_logged libvirt-unpack tar -C "$dir.new" --strip-components=1 \
        -xf "$cache/libvirt/$file"
    rm "$cache/libvirt/$file"
    mv "$dir.new" "$dir"
}

# git and not patch: the tests' data has files that are links, and new ones
apply() {
    local dir=$1 f
    shift
    for f; do
        (cd "$dir" && GIT_DIR=/nonexistent git apply --whitespace=nowarn "$f") ||
            die "$(basename "$f") does not apply to libvirt ${version%%-*}" \
                "rebase the series"
    done
}

configure() {
    [ ! -f "$2/build.ninja" ] || return 0
    step "configuring libvirt"
    run_logged libvirt-setup meson setup "${setup_opts[@]}" "$2" "$1"
}

build() {
    step "building libvirt"
    run_logged libvirt-build ninja -j "$JOBS" -C "$1" "${@:2}"
}

run_tests() {
    step "libvirt's own tests"
    # those of its style need a git repository, see check_syntax
    run_logged libvirt-test meson test -C "$1" --no-rebuild --print-errorlogs \
        --timeout-multiplier 10
    sed -n '/^Ok: /,/^Timeout: /p' "$cache/log/libvirt-test.log"
}

build_all() {
    fetch "$source"
    if [ ! -d "$dir/src" ]; then
        rm -rf "$dir/src.new"
        cp -a "$source" "$dir/src.new"
        apply "$dir/src.new" "${patches[@]}"
        mv "$dir/src.new" "$dir/src"
    fi
    configure "$dir/src" "$dir/build"
    if [ "$1" = some ] || [ "$1" = stock ]; then
        build "$dir/build" "${targets[@]}"
    else
        build "$dir/build"
    fi
    touch "$dir"
    find "$cache/libvirt" -maxdepth 1 -name 'build-*' -printf '%T@ %p\n' | sort -rn |
        tail -n +"$((keep_builds + 1))" | cut -d' ' -f2- | xargs -r rm -rf
}

# One tree, to which the patches come one by one
build_each() {
    local f dir=$build/libvirt-each
    with_lock libvirt fetch "$source"
    rm -rf "$dir"
    mkdir -p "$dir"
    cp -a "$source" "$dir/src"
    configure "$dir/src" "$dir/build"
    for f in "${patches[@]}"; do
        apply "$dir/src" "$f"
        step "$(basename "$f")"
        build "$dir/build"
        run_tests "$dir/build"
    done
    rm -rf "$dir"
    step "each patch builds and passes libvirt's tests"
}

# It asks git which files there are.
check_syntax() {
    local tree=$build/libvirt-syntax
    with_lock libvirt fetch "$source"
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -a "$source" "$tree/src"
    apply "$tree/src" "${patches[@]}"
    # what upstream has in a repository of its own
    git -C "$tree/src" init -q
    git -C "$tree/src" add -f . ':!subprojects'
    git -C "$tree/src" -c user.name=check -c user.email=check commit -q -m check
    setup_opts+=(-Dno_git=true)
    configure "$tree/src" "$tree/build"
    step "checking the syntax"
    run_logged libvirt-syntax meson test -C "$tree/build" --suite syntax-check \
        --print-errorlogs --timeout-multiplier 10
    rm -rf "$tree"
}

main() {
    local link=libvirt
    [ -f "${patches[0]}" ] || die "there are no patches in libvirt-xml/patches"
    need_tools ninja gcc git
    meson_env
    mkdir -p "$cache/libvirt"
    select_version
    [ "${1:-}" != stock ] || patches=() link=libvirt-stock
    source=$cache/libvirt/source-${version%%-*}
    # programs know where they were built, so that each set of patches has a
    # directory of its own
    dir=$cache/libvirt/build-$(hash_inputs "${version%%-*}" "${setup_opts[*]}" \
        "$(meson --version)" "$(gcc --version)" "${patches[@]}")
    case ${1:-} in
    each) build_each ;;
    syntax) check_syntax ;;
    '' | full | test | stock)
        mkdir -p "$dir"
        with_lock libvirt build_all "${1:-some}"
        ln -sfn "$dir/build" "$build/$link"
        [ "${1:-}" != test ] || run_tests "$dir/build"
        ;;
    *) die "what is '$1'?" "see the top of scripts/libvirt-build.sh" ;;
    esac
}

main "$@"
