# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for fadump-ctl: commands, options, files, events, domains

# Names of files, or of directories, which go on with "/"
_fadump_ctl_files() {
    local cur=$1 kind=$2
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -A "$kind" -- "$cur")
}

_fadump_ctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev='' option='' command='' i word files=0
    local global='--connect --domain --uri --json --timeout --help'
    local save='--filter --fd --no-fd --release'
    local events='FADUMP_REGISTERED FADUMP_CAPTURED FADUMP_RELEASED FADUMP_FAILED
        FADUMP_SAVE_COMPLETED GUEST_CRASHLOADED GUEST_PANICKED RESET SHUTDOWN WATCHDOG'
    local commands='status trigger save release watch report'

    COMPREPLY=()
    # "=" is a word of its own for readline: --option = value
    [ "$COMP_CWORD" -gt 0 ] && prev=${COMP_WORDS[COMP_CWORD - 1]}
    if [ "$cur" = = ]; then
        option=$prev cur=''
    elif [ "$prev" = = ] && [ "$COMP_CWORD" -gt 1 ]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    else
        option=$prev
    fi

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        -c | --connect | -d | --domain | --uri | -t | --timeout | -o | --once | -s | --save-dir | --vmlinux)
            # with its value
            [ "${COMP_WORDS[i + 1]}" = = ] && ((i++))
            ((i++))
            ;;
        --filter)
            [ "${COMP_WORDS[i + 1]}" = = ] && ((i += 2))
            ;;
        -* | =) ;;
        *)
            if [ -z "$command" ]; then
                command=$word
            else
                ((files++))
            fi
            ;;
        esac
    done

    case $option in
    -c | --connect | --vmlinux)
        _fadump_ctl_files "$cur" file
        return
        ;;
    -s | --save-dir)
        _fadump_ctl_files "$cur" directory
        return
        ;;
    -o | --once)
        mapfile -t COMPREPLY < <(compgen -W "$events" -- "$cur")
        return
        ;;
    -d | --domain)
        mapfile -t COMPREPLY < <(compgen -W "$(virsh -q list --name 2>/dev/null)" -- "$cur")
        return
        ;;
    --uri | -t | --timeout)
        return
        ;;
    --filter)
        # its value is not completed, and it may have none
        [ "$cur" = "${COMP_WORDS[COMP_CWORD]}" ] && [ "$prev" != = ] || return
        ;;
    esac

    if [ -z "$command" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands $global --version" -- "$cur")
        return
    fi
    if [[ $cur != -* ]]; then
        case $command in
        save | report)
            [ "$files" -gt 0 ] || _fadump_ctl_files "$cur" file
            return
            ;;
        esac
    fi
    case $command in
    status) word='' ;;
    trigger) word='--wait' ;;
    save) word="$save --force" ;;
    release) word='--force' ;;
    watch) word="$save --once --save-dir --vmlinux" ;;
    report) word='--vmlinux' ;;
    *) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$word $global" -- "$cur")
}

complete -F _fadump_ctl fadump-ctl
