#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make the series of patches to QEMU as upstream takes it: a repository with
# QEMU's tree and a commit for each patch, with the new files in the commits,
# in build/series/tree, and the mails of it in build/series/*.patch.
#
#   scripts/series.sh            make both, run QEMU's checkpatch.pl on each
#   scripts/series.sh --check    besides, build each commit and run its tests;
#                                one that has passed is not built again
#   scripts/series.sh --help
#
# What goes into which commit is in qemu/patches/fadump-dev/series.
#
#   SIGNOFF="Name <mail>"   author of the commits, who signs them off and is the
#                           maintainer (default: git's user.name and user.email)
#   FORMAT_PATCH="-v2"      more options of git format-patch
#   QEMU_VERSION, QEMU_SRC  the tree, as with scripts/qemu-build.sh
#   CHECK_TIMEOUT=SECONDS   with --check: stop a build after so long, with exit
#                           status 3; the next run goes on from there

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/qemu-tree.sh
. "$top/scripts/qemu-tree.sh"

patches=$top/qemu/patches/fadump-dev
table=$patches/series

usage() {
    sed -n '/^# Make the series/,/^$/ { s/^# \{0,1\}//; p; }' "${BASH_SOURCE[0]}"
}

# Commits in order: names[i] is the file with the message, files[i] and tests[i]
# what it brings, a line each.
read_table() {
    local line pattern f n=-1
    local -A commit_of=()
    local -a patterns=() owners=()
    names=() files=() tests=()
    while read -r line; do
        case "$line" in
        '' | '#'*) ;;
        '+ '*)
            patterns+=("${line#+ }")
            owners+=("$n")
            ;;
        '? '*) tests[n]+=${line#\? }$'\n' ;;
        *.patch)
            n=${#names[@]}
            [ -f "$patches/$line" ] ||
                die "$table names $line, which is not there"
            names+=("$line")
            files+=('') tests+=('')
            ;;
        *) die "$table: a line that says nothing: $line" ;;
        esac
    done <"$table"
    while read -r f; do
        [[ " ${names[*]} " = *" ${f##*/} "* ]] ||
            die "${f##*/} is in no commit" "list it in $table"
    done < <(qemu_patch_files)
    while read -r f; do
        for n in "${!patterns[@]}"; do
            pattern=${patterns[n]}
            # shellcheck disable=SC2053 # it is a pattern
            if [[ $f = $pattern ]]; then
                commit_of[$f]=${owners[n]}
                files[owners[n]]+=$f$'\n'
                break
            fi
        done
        [ -n "${commit_of[$f]:-}" ] ||
            die "qemu/$f is in no commit" "list it below its patch in $table"
    done < <(
        qemu_overlay_files
        echo "$qemu_uapi_header"
    )
}

find_signoff() {
    signoff=${SIGNOFF:-$(git config user.name || :) <$(git config user.email || :)>}
    [[ $signoff =~ ^[^\<\>]+[[:space:]]\<[^@\<\>]+@[^@\<\>]+\>$ ]] ||
        die "'$signoff' is nobody who could sign a patch off" \
            'set SIGNOFF="Name <mail>"'
    export GIT_AUTHOR_NAME=${signoff% <*} GIT_AUTHOR_EMAIL=${signoff##*<}
    GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL%>}
    export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME
    export GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
}

# Nothing of the user's configuration changes what comes out, and no hook runs.
tree_git() {
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
        git -C "$tree" -c core.hooksPath=/dev/null -c gc.auto=0 "$@"
}

# One repository for each QEMU, with its source as the commit "pristine".
make_repository() {
    local want
    want=$(readlink -f "$base")
    if [ "$(cat "$tree/.git/fadump-base" 2>/dev/null)" = "$want" ]; then
        return
    fi
    step "making a repository of QEMU $qemu_version"
    rm -rf "$tree" "$series/check" "$series/build" "$series/passed"
    mkdir -p "$tree"
    cp -a "$base/pristine/." "$tree/"
    # a tree of the user's may be one itself
    rm -rf "$tree/.git"
    tree_git init -q -b series
    tree_git add -f .
    tree_git commit -q --date=@0 -m "QEMU $qemu_version"
    tree_git tag pristine
    printf '%s\n' "$want" >"$tree/.git/fadump-base"
}

# The message of a patch file, and its $date
message_of() {
    local info
    info=$(git mailinfo "$series/body" /dev/null <"$1")
    date=$(sed -n 's/^Date: //p' <<<"$info")
    {
        sed -n 's/^Subject: //p' <<<"$info"
        echo
        cat "$series/body"
    } >"$series/message"
    rm -f "$series/body"
}

# Who maintains it is who sends it.
put_maintainer() {
    local f=$tree/MAINTAINERS
    ! grep -qx 'Firmware-assisted dump' "$f" ||
        grep -qxF "M: $signoff" "$f" ||
        sed -i "/^Firmware-assisted dump$/a M: $signoff" "$f"
}

make_commits() {
    local i f date
    step "${#names[@]} commits"
    tree_git checkout -q -f --detach pristine
    tree_git clean -q -d -f -x
    for i in "${!names[@]}"; do
        qemu_put_patch "$patches/${names[i]}" "$tree" ||
            die "${names[i]} does not apply to QEMU $qemu_version"
        while read -r f; do
            case "$f" in
            '') ;;
            "$qemu_uapi_header") qemu_put_uapi "$tree" ;;
            *) qemu_put_file "$f" "$tree" ;;
            esac
        done <<<"${files[i]}"
        put_maintainer
        tree_git add -A -f .
        message_of "$patches/${names[i]}"
        GIT_COMMITTER_DATE=$date tree_git commit -q -s --date="$date" \
            -F "$series/message"
        rm -f "$series/message"
    done
    tree_git checkout -q -B series
}

make_mails() {
    local options
    read -r -a options <<<"${FORMAT_PATCH:-}"
    rm -f "$series"/*.patch
    tree_git config branch.series.description "$(cat "$patches/cover-letter")"
    tree_git format-patch -q --cover-letter --cover-from-description=subject \
        --to=qemu-devel@nongnu.org "${options[@]}" \
        -o "$series" pristine..series
}

check_style() {
    local mail rc=0
    step "checkpatch.pl"
    for mail in "$series"/*.patch; do
        case "$mail" in
        *-cover-letter.patch) ;;
        *)
            (cd "$tree" && perl scripts/checkpatch.pl --quiet --no-tree "$mail") ||
                rc=1
            ;;
        esac
    done
    [ "$rc" = 0 ] || die "checkpatch.pl has found errors, see above"
}

# Expected ACPI tables are those of TCG, and not of any KVM: QEMU finds none.
without_kvm() {
    local private=-m
    [ "$(id -u)" -eq 0 ] || private=-rm
    if [ -e /dev/kvm ]; then
        set -- unshare "$private" sh -c 'mount --bind /dev/null /dev/kvm && exec "$@"' sh "$@"
    fi
    "$@"
}

# run_tests LINES: build and run tests of QEMU's, as its `make check` does
run_tests() {
    local t needs n without targets=() names=() partly=()
    while read -r t needs; do
        [ -n "$t" ] || continue
        targets+=("tests/$t")
        t=${t/#qtest/qtest-x86_64}
        without=
        for n in $needs; do
            case $n in
            !*) without+=" -s ${n#!}" ;;
            *) targets+=("$n") ;;
            esac
        done
        if [ -n "$without" ]; then
            partly+=("${t#unit/}$without")
        else
            names+=("${t#unit/}")
        fi
    done <<<"$1"
    [ ${#targets[@]} -gt 0 ] || return 0
    run_limited ninja -C "$dir" "${targets[@]}"
    [ ${#names[@]} -eq 0 ] || run_meson_test "${names[@]}"
    for t in "${partly[@]}"; do
        run_meson_test "${t%% *}" --test-args "${t#* }"
    done
}

run_meson_test() {
    note "tests: $*"
    run_logged series-test without_kvm "$dir/pyvenv/bin/meson" test -C "$dir" \
        --no-rebuild --print-errorlogs --timeout-multiplier 8 "$@"
    sed -n '/^ *[0-9]*\/[0-9]* /p' "$cache/log/series-test.log"
}

run_limited() {
    local rc=0 log=$cache/log/series-build.log
    timeout "${CHECK_TIMEOUT:-36000}" "$@" >"$log" 2>&1 </dev/null || rc=$?
    if [ "$rc" = 124 ]; then
        note "stopped after ${CHECK_TIMEOUT} s; the next run goes on from here"
        exit 3
    elif [ "$rc" != 0 ]; then
        tail -n 30 "$log" >&2
        die "the build failed, see $log"
    fi
}

# In a work tree of its own, where from one commit to the next nothing is
# touched but what differs.
check_commits() {
    local i commit key last all='' src=$series/check dir=$series/build
    meson_env
    qemu_fetch_firmware
    if [ ! -e "$src/.git" ]; then
        rm -rf "$src"
        tree_git worktree prune
        tree_git worktree add -q --detach "$src" pristine
    fi
    last=$((${#names[@]} - 1))
    for i in "${!names[@]}"; do
        all+=${tests[i]}
        commit=$(tree_git rev-parse "series~$((last - i))")
        # by content, so that what is made anew is not built anew
        key=$(tree_git rev-parse "$commit^{tree}")
        [ "$i" != "$last" ] || tests[i]=$all
        if grep -qxF "$key" "$series/passed" 2>/dev/null; then
            note "$((i + 1)) has passed"
            continue
        fi
        step "$((i + 1)): $(tree_git log -1 --format=%s "$commit")"
        git -C "$src" checkout -q -f --detach "$commit"
        qemu_configure "$src" "$dir"
        qemu_link_firmware "$dir"
        run_limited ninja -C "$dir" qemu-system-x86_64 qemu-img \
            storage-daemon/qemu-storage-daemon
        run_tests "${tests[i]}"
        printf '%s\n' "$key" >>"$series/passed"
    done
    step "each commit builds and passes its tests"
}

main() {
    local check=
    case "${1:-}" in
    --help | -h)
        usage
        exit
        ;;
    --check) check=1 ;;
    '') ;;
    *) die "what is '$1'?" "scripts/series.sh --help says what there is" ;;
    esac
    need_tools git perl patch
    qemu_select
    series=$build/series
    [ "$qemu_release" = 10.0 ] || series=$series-$qemu_release
    tree=$series/tree
    mkdir -p "$series"
    find_signoff
    read_table
    qemu_fetch "$base/pristine"
    make_repository
    make_commits
    make_mails
    check_style
    [ -z "$check" ] || check_commits
    step "$(find "$series" -maxdepth 1 -name '*.patch' | wc -l) mails in $series"
}

main "$@"
