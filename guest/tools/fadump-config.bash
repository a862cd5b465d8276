# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for fadump-config

_fadump_config() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    case $COMP_CWORD:${COMP_WORDS[1]} in
    1:*) mapfile -t COMPREPLY < <(compgen -W 'status test selftest motd --help' -- "$cur") ;;
    2:selftest) mapfile -t COMPREPLY < <(compgen -W '--yes --report' -- "$cur") ;;
    2:test) mapfile -t COMPREPLY < <(compgen -W '--boot' -- "$cur") ;;
    *) COMPREPLY=() ;;
    esac
}

complete -F _fadump_config fadump-config
