# Completion of prestow in fish. It asks the command itself, so it needs no renewal.
function __prestow_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l answer ($before[1] completion fish --typed=(string join \n -- $before "$current" | string collect) 2>/dev/null)
    set -l kind $answer[1]
    set -e answer[1]
    test (count $answer) -gt 0; and printf '%s\n' $answer
    switch "$kind"
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current" ''
    end
end
complete -c prestow -f -a '(__prestow_complete)'
