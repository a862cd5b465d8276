# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for fadump-save

_fadump_save() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    case $prev in
    -o | --output)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -A directory -- "$cur")
        ;;
    -c | --compress) mapfile -t COMPREPLY < <(compgen -W 'lzo snappy zstd zlib none' -- "$cur") ;;
    -d | --level | -t | --threads) COMPREPLY=() ;;
    *) mapfile -t COMPREPLY < <(compgen -W '--output --level --compress --threads --once
        --release --help' -- "$cur") ;;
    esac
}

complete -F _fadump_save fadump-save
