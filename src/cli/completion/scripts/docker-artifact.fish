# fish completion for docker-artifact and copy_binary, printed by: docker-artifact completion fish

function __docker_artifact_complete
    set -l words (commandline --cut-at-cursor --tokenize --current-process)
    set -l typed (commandline --cut-at-cursor --current-token)
    # As it is without quotes and backslashes; what is still open is closed first.
    set -l word
    for closing in '' '"' "'"
        set word (string unescape -- $typed$closing)
        and break
    end
    set -l program (string replace --regex '^~/' "$HOME/" -- $words[1])
    set -l answer ($program __complete $words[2..-1] "$word" 2>/dev/null)
    or return
    set -l directive (string replace : '' -- $answer[-1])
    set -e answer[-1]
    # Of a flag with its value in the same word, candidates are values.
    set -l before (string match --regex -- '^--[^=]*=' "$word")
    or set before ''
    if test (count $answer) -eq 0
        # Directive 4 says that names of files are of no use.
        contains -- $directive 4 6
        or printf '%s\n' $before(__fish_complete_path (string replace -- "$before" '' "$word"))
        return
    end
    printf '%s\n' $before$answer
end

complete --command docker-artifact --no-files --arguments '(__docker_artifact_complete)'
complete --command copy_binary --no-files --arguments '(__docker_artifact_complete)'
