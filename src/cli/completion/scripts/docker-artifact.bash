# bash completion for docker-artifact and copy_binary, printed by: docker-artifact completion bash
# shellcheck shell=bash

# Takes the line up to the cursor apart: $words without quotes and backslashes, in $quote the quote that is still open, and in $kept
# how much of the last word readline leaves alone. It replaces what follows an open quote or a character of COMP_WORDBREAKS.
__docker_artifact_words() {
    local line=${COMP_LINE:0:COMP_POINT} word='' begun='' broken='' quoted='' char i
    words=() quote=''
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        if [[ $char == '\' && $quote != "'" ]]; then
            char=${line:i + 1:1}
            # Between double quotes, a backslash escapes but a few characters.
            [[ -n $quote && $char != [\$\`\"\\] ]] && word+='\'
            word+=$char begun=1 i=$((i + 1))
        elif [[ -n $quote ]]; then
            if [[ $char == "$quote" ]]; then quote=''; else word+=$char; fi
        elif [[ $char == [\"\'] ]]; then
            quote=$char begun=1 quoted=$word
        elif [[ $char == [[:space:]] ]]; then
            [[ -n $begun ]] && words+=("$word")
            word='' begun='' broken=''
        else
            word+=$char begun=1
            [[ $COMP_WORDBREAKS == *"$char"* ]] && broken=$word
        fi
    done
    words+=("$word")
    if [[ -n $quote ]]; then kept=$quoted; else kept=$broken; fi
}

# Writes $1 so that bash reads it as it is, behind what is open in $quote.
__docker_artifact_quote() {
    REPLY=$1
    case $quote in
        \') REPLY=${REPLY//\'/\'\\\'\'} ;;
        \")
            REPLY=${REPLY//\\/\\\\}
            REPLY=${REPLY//\"/\\\"}
            REPLY=${REPLY//\$/\\\$}
            REPLY=${REPLY//\`/\\\`}
            ;;
        *) printf -v REPLY %q "$1" ;;
    esac
}

__docker_artifact() {
    local words kept quote program word before='' line answer=() directive REPLY
    __docker_artifact_words
    program=${words[0]/#\~\//$HOME/}
    word=${words[${#words[@]} - 1]}
    # Of a flag with its value in the same word, candidates are values.
    [[ $word == --*=* ]] && before=${word%%=*}=
    COMPREPLY=()
    while IFS= read -r line; do
        answer+=("$line")
    done < <("$program" __completeNoDesc "${words[@]:1}" 2>/dev/null)
    ((${#answer[@]})) || return
    directive=${answer[${#answer[@]} - 1]#:}
    unset 'answer[${#answer[@]} - 1]'
    for line in "${answer[@]}"; do
        line=$before$line
        [[ $line == "$word"* ]] || continue
        __docker_artifact_quote "${line:${#kept}}"
        COMPREPLY+=("$REPLY")
    done
    if ((directive & 2)); then compopt -o nospace; fi
    if ((${#COMPREPLY[@]} == 0 && !(directive & 4))); then compopt -o default; fi
}

complete -F __docker_artifact docker-artifact copy_binary
