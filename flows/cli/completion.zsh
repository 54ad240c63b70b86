#compdef prestow
# Completion of prestow in zsh. It asks the command itself, so it needs no renewal.
_prestow() {
    local line
    local -a typed answer found described
    typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    answer=("${(@f)$("$typed[1]" completion zsh --typed="${(F)typed}" 2>/dev/null)}")
    for line in "${(@)answer[2,-1]}"; do
        found+=("${line%%$'\t'*}")
        described+=("${${line%%$'\t'*}//:/\\:}${${line#*$'\t'}:+:${line#*$'\t'}}")
    done
    if [[ $answer[1] == paths ]]; then
        compadd -S '' -- "${(@M)found:#*[/:]}"
        compadd -- "${(@)found:#*[/:]}"
    elif (( $#described )); then
        _describe -V prestow described
    fi
    case $answer[1] in
        files) _files ;;
        directories) _files -/ ;;
    esac
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _prestow "$@"
else
    compdef _prestow prestow
fi
