# Completion of muster for bash: commands, options, names in the store, servers.

# A word as it was typed, without its quotes and backslashes: into $plain.
_muster_plain()
{
	case $1 in
	\'*) plain=${1#\'} plain=${plain%\'} ;;
	\"*) plain=${1#\"} plain=${plain%\"} ;;
	*) IFS= read plain <<< "$1" ;;
	esac
}

_muster()
{
	local words=() front='' plain global=() given=() word i
	# Bash takes a word apart at ':' and '='; of the last one only the end is replaced.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $i -gt 1 && ($word == [:=]* || ${COMP_WORDS[i - 1]} == [:=]) ]]; then
			front=${words[-1]}
			[[ $word == [:=] ]] && front+=$word
			words[-1]+=$word
		else
			front=''
			words+=("$word")
		fi
	done
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		case ${words[i]} in
		-n | --nameserver | --cluster | --interface | --beacon-port | --transfer | --timeout)
			global+=("${words[i]}" "${words[i + 1]}")
			((i++)) ;;
		-k | --key) ((i++)) ;;
		-*) ;;
		*) break ;;
		esac
	done
	((i < ${#words[@]})) || return
	for word in "${words[@]:i}"; do
		_muster_plain "$word"
		given+=("$plain")
	done
	mapfile -t COMPREPLY < <(command muster "${global[@]}" complete -- "${given[@]}" 2>/dev/null)
	_muster_plain "$front"
	COMPREPLY=("${COMPREPLY[@]#"$plain"}")
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
		compopt -o nospace
	fi
	compopt -o filenames 2>/dev/null
}
complete -o bashdefault -F _muster muster
