#compdef prestow
# Completion of prestow in zsh. It asks the command itself, so it needs no renewal.
_prestow() {
    local line
    local -a typed answer described
    typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    answer=("${(@f)$("$typed[1]" completion zsh --typed="${(F)typed}" 2>/dev/null)}")
    case $answer[1] in
        files) _files ;;
        directories) _files -/ ;;
        words)
            for line in "${(@)answer[2,-1]}"; do
                described+=("${${line%%$'\t'*}//:/\\:}${${line#*$'\t'}:+:${line#*$'\t'}}")
            done
            _describe -V prestow described
            ;;
    esac
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _prestow "$@"
else
    compdef _prestow prestow
fi
