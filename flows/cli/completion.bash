# Completion of prestow in bash. It asks the command itself, so it needs no renewal.
# bash splits words at ":" and "=": $2 is only the part behind the last of them, and only that part is replaced.
_prestow() {
    local -a answer
    mapfile -t answer < <("$1" completion bash --part="$2" --typed="${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    COMPREPLY=("${answer[@]:1}")
    case ${answer[0]-} in
        paths) [[ ${COMPREPLY-} == *[/:] ]] && compopt -o nospace ;;
        files) compopt -o default ;;
        directories) compopt -o dirnames ;;
    esac
}
complete -F _prestow prestow
