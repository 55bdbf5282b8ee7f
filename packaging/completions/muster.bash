# Completion of muster for bash: commands, options, names in the store, servers.
_muster()
{
	local cur prev words cword global=() i
	_get_comp_words_by_ref -n : cur prev words cword 2>/dev/null || {
		words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}
	}
	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		-n | --nameserver | --cluster | --interface | --beacon-port | --transfer | --timeout)
			global+=("${words[i]}" "${words[i + 1]}")
			((i++)) ;;
		-k | --key) ((i++)) ;;
		-*) ;;
		*) break ;;
		esac
	done
	((i <= cword)) || return
	local IFS=$'\n'
	COMPREPLY=($(command muster "${global[@]}" complete -- "${words[@]:i:cword-i+1}" 2>/dev/null))
	if [[ ${COMPREPLY[*]} == */ && ${#COMPREPLY[@]} -eq 1 ]]; then
		compopt -o nospace
	fi
	compopt -o filenames 2>/dev/null
}
complete -o bashdefault -F _muster muster
