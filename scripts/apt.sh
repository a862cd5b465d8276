# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced after common.sh. Debian packages of several releases, fetched with
# an apt configuration of our own that lies in the cache: the system's apt
# sources are read, to learn which mirror this machine uses, and never changed.
# Nothing is installed; packages are unpacked into the cache.
#
#   FADUMP_MIRROR, FADUMP_SECURITY_MIRROR   mirrors to use instead of those
#   FADUMP_APT_AGE                          refresh lists after so many minutes
#
#   private_apt_get ARG...       apt-get with that configuration
#   private_apt_cache ARG...     apt-cache likewise
#   deb_versions NAME [SUITE]..  versions of a package, newest first
#   fetch_deb NAME[=VERSION|/SUITE]...    download, print the path of each file
#   unpack_deb DIR NAME[=VERSION|/SUITE]...   fetch, unpack into DIR
#   apt_use ARCH [sid]           from here on packages of that architecture; of
#                                Debian's newest only, or of the suites that
#                                the build takes (before the first call: amd64)
#   meson_env                    put a meson that is new enough on the PATH

# shellcheck disable=SC2154 # common.sh sets cache

# Print "URI" of the mirror for which the pattern matches a suite. apt itself
# parses its sources (one-line and deb822 style alike).
_apt_system_mirror() {
    local suites=$1 tail=$2
    apt-get indextargets --format "\$(RELEASE) \$(COMPONENT) \$(REPO_URI)" \
        "Created-By: Packages" 2>/dev/null |
        awk -v suites="$suites" -v tail="$tail" '
            $1 ~ suites && $2 == "main" && $3 !~ /^cdrom:/ {
                sub(/\/$/, "", $3)
                # other vendors name a suite like Debian does; their paths differ
                if (best == "" && ($3 ~ tail || $3 ~ /^mirror/)) best = $3
                if (other == "") other = $3
            }
            END { if (best == "") best = other; if (best != "") print best }'
}

_apt_sources() {
    local main=$1 security=$2 keyring=$3
    if [ "$_apt_suites" = sid ]; then
        echo "deb [signed-by=$keyring] $main sid main"
        echo "deb-src [signed-by=$keyring] $main sid main"
        return
    fi
    cat <<END
deb [signed-by=$keyring] $main bookworm main
deb [signed-by=$keyring] $security bookworm-security main
deb [signed-by=$keyring] $main bookworm-backports main
deb [signed-by=$keyring] $main trixie main
deb [signed-by=$keyring] $main trixie-backports main
deb-src [signed-by=$keyring] $main trixie main
END
}

_apt_write_config() {
    local main security keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    main=${FADUMP_MIRROR:-$(_apt_system_mirror '^(bookworm|trixie|stable|oldstable)(-updates|-backports)?$' '/debian$')}
    main=${main:-http://deb.debian.org/debian}
    security=${FADUMP_SECURITY_MIRROR:-$(_apt_system_mirror '^(bookworm|trixie|stable|oldstable)-security$' '/debian-security$')}
    case "$security:$main" in
    :*/debian) security=$main-security ;;
    :*) security=http://deb.debian.org/debian-security ;;
    esac
    [ -f "$keyring" ] ||
        die "$keyring is missing" "apt-get install debian-archive-keyring"
    mkdir -p "$apt_dir"/{etc/none.d,lists/partial,archives/partial} "$apt_debs"
    : >"$apt_dir/status"
    _apt_sources "$main" "$security" "$keyring" >"$apt_dir/sources.list.new"
    # System settings stay in force (a proxy, say), but for what changes which
    # versions are seen, and for hooks that act on the system. A mirror may be a
    # snapshot of some day, with lists that have expired; they are signed even so.
    cat >"$apt_dir/apt.conf.new" <<END
Dir::Etc::sourcelist "$apt_dir/etc/sources.list";
Dir::Etc::sourceparts "$apt_dir/etc/none.d";
Dir::Etc::preferences "$apt_dir/etc/none";
Dir::Etc::preferencesparts "$apt_dir/etc/none.d";
Dir::State "$apt_dir";
Dir::State::lists "$apt_dir/lists";
Dir::State::status "$apt_dir/status";
Dir::Cache "$apt_dir";
Dir::Cache::archives "$apt_dir/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
#clear APT::Architectures;
APT::Architecture "$_apt_arch";
APT::Architectures { "$_apt_arch"; };
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
END
    # Write only what differs: the time of sources.list says whether the
    # lists are of these sources.
    local f
    for f in sources.list apt.conf; do
        local to=$apt_dir/$f
        [ "$f" = apt.conf ] || to=$apt_dir/etc/$f
        if cmp -s "$apt_dir/$f.new" "$to"; then
            rm "$apt_dir/$f.new"
        else
            mv "$apt_dir/$f.new" "$to"
        fi
    done
}

# Checkouts of which one asks for more suites than another share the cache:
# lists belong to what they were asked for, files to all.
apt_use() {
    _apt_arch=$1
    _apt_suites=${2:-}
    apt_dir=$cache/apt/$1${2:+-$2}-$(hash_inputs "$(declare -f _apt_sources _apt_write_config)")
    _apt_ready=
}

_apt_lists_fresh() {
    [ -f "$apt_dir/lists.done" ] &&
        [ ! "$apt_dir/etc/sources.list" -nt "$apt_dir/lists.done" ] &&
        [ -z "$(find "$apt_dir/lists.done" -mmin +"${FADUMP_APT_AGE:-1440}")" ]
}

_apt_update() {
    _apt_write_config
    ! _apt_lists_fresh || return 0
    step "refreshing package lists ($_apt_arch, $(awk 'NR == 1 { print $3 }' "$apt_dir/etc/sources.list"))"
    local log=$cache/log/apt-update.log
    if apt-get -c "$apt_dir/apt.conf" -q -o APT::Update::Error-Mode=any \
        update >"$log" 2>&1 </dev/null; then
        touch "$apt_dir/lists.done"
    elif [ -f "$apt_dir/lists.done" ] &&
        [ ! "$apt_dir/etc/sources.list" -nt "$apt_dir/lists.done" ]; then
        note "the mirror cannot be reached; the lists of $(date -r "$apt_dir/lists.done" +%F) are used"
    else
        tail -n 15 "$log"
        die "apt-get update failed for the private configuration ($log)" \
            "check the network and that the mirror has bookworm, bookworm-security, bookworm-backports, trixie and trixie-backports; or name others: FADUMP_MIRROR=http://deb.debian.org/debian FADUMP_SECURITY_MIRROR=http://deb.debian.org/debian-security"
    fi
}

apt_debs=$cache/apt/debs
apt_use amd64

# Standard output of the callers is often read, so all talk goes to stderr.
_apt_setup() {
    [ -z "$_apt_ready" ] || return 0
    if [ ! -f "$apt_dir/apt.conf" ] || [ "${BASH_SOURCE[0]}" -nt "$apt_dir/apt.conf" ] ||
        ! _apt_lists_fresh; then
        with_lock apt-lists _apt_update >&2
        touch "$apt_dir/apt.conf"
    fi
    _apt_ready=1
}

private_apt_get() {
    _apt_setup
    apt-get -c "$apt_dir/apt.conf" -q "$@"
}

private_apt_cache() {
    _apt_setup
    apt-cache -c "$apt_dir/apt.conf" "$@"
}

deb_versions() {
    local name=$1 suites
    shift
    suites="$*"
    private_apt_cache madison "$name" |
        awk -F ' *[|] *' -v suites=" $suites " '
            { gsub(/^ +/, "", $1); split($3, a, " "); sub(/\/.*/, "", a[2]) }
            $3 ~ / Packages$/ && (suites == "  " || index(suites, " " a[2] " ")) && !seen[$2]++ {
                print $2
            }'
}

# _apt_uri NAME[=VERSION|/SUITE]: print "URI FILE SIZE"
_apt_uri() {
    private_apt_get download --print-uris "$1" 2>/dev/null |
        awk '/^\x27/ && !n++ { gsub(/\x27/, "", $1); print $1, $2, $3 }'
}

# The file is downloaded beside its place and renamed, so that what is there
# is whole.
_fetch_one() {
    local want=$1 file=$2 size=$3 tmp
    [ "$(stat -c %s "$apt_debs/$file" 2>/dev/null)" != "$size" ] || return 0
    note "downloading $want ($((size / 1048576)) MiB)" >&2
    tmp=$(mktemp -d "$apt_debs/tmp.XXXXXX")
    if ! (cd "$tmp" && private_apt_get download "$want" >"$cache/log/apt-download.log" 2>&1) ||
        ! mv "$tmp"/*.deb "$apt_debs/$file"; then
        rm -rf "$tmp"
        return 1
    fi
    rm -rf "$tmp"
}

# try_fetch_deb: as fetch_deb, but returns 1 where the mirror cannot give it
try_fetch_deb() {
    local want uri file size
    _apt_setup
    for want; do
        read -r uri file size < <(_apt_uri "$want") || return 1
        [ -n "$uri" ] || return 1
        with_lock apt-fetch _fetch_one "$want" "$file" "$size" || return 1
        printf '%s\n' "$apt_debs/$file"
    done
}

fetch_deb() {
    local want
    for want; do
        if ! try_fetch_deb "$want"; then
            tail -n 5 "$cache/log/apt-download.log" >&2 2>/dev/null || :
            die "the package $want cannot be downloaded" \
                "check the network; if the mirror has dropped that version, refresh the lists with FADUMP_APT_AGE=0"
        fi
    done
}

unpack_deb() {
    local dir=$1 want deb
    shift
    mkdir -p "$dir"
    for want; do
        deb=$(fetch_deb "$want")
        dpkg-deb -x "$deb" "$dir"
    done
}

_meson_unpack() {
    [ ! -x "$1/bin/meson" ] || return 0
    rm -rf "$1" "$1.new"
    unpack_deb "$1.new" "meson=$2"
    mkdir -p "$1.new/bin"
    # Not as /usr/bin/meson has it: a python3 of the user's that comes first
    # in PATH knows nothing of Debian's modules.
    cat >"$1.new/bin/meson" <<END
#!/bin/sh
PYTHONPATH=$1/usr/lib/python3/dist-packages\${PYTHONPATH:+:\$PYTHONPATH}
export PYTHONPATH
exec /usr/bin/python3 $1/usr/bin/meson "\$@"
END
    chmod +x "$1.new/bin/meson"
    mv "$1.new" "$1"
}

# QEMU 10 needs meson 1.5; Debian 12 has 1.0 and, in its backports, 1.7. QEMU's
# configure looks for the Python module, so PYTHONPATH matters as well as PATH.
meson_env() {
    local version dir
    if [ -x /usr/bin/meson ] &&
        dpkg --compare-versions "$(/usr/bin/meson --version)" ge 1.5; then
        return
    fi
    # The cache's own, if there is one, whatever the lists say by now.
    mkdir -p "$cache/meson"
    dir=$(find "$cache/meson" -maxdepth 2 -path '*/bin' -printf '%h\n' | sort -V | tail -n 1)
    # a run that was cut off leaves *.new
    [ "${dir%.new}" = "$dir" ] || dir=
    if [ -z "$dir" ]; then
        version=$(deb_versions meson bookworm-backports | sed -n 1p)
        [ -n "$version" ] ||
            die "the mirror has no meson in bookworm-backports" \
                "install meson 1.5 or newer, or name another mirror in FADUMP_MIRROR"
        step "fetching meson $version"
        dir=$cache/meson/${version%%-*}
        with_lock meson _meson_unpack "$dir" "$version"
    fi
    export PATH=$dir/bin:$PATH
    export PYTHONPATH=$dir/usr/lib/python3/dist-packages${PYTHONPATH:+:$PYTHONPATH}
}
