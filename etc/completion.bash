# SPDX-License-Identifier: BSD-3-Clause
# bash completion for hearthd and hearth. Names are asked of the programs themselves: what --help lists, and the choices that a
# wrong value is answered with. Nothing else is ever run: --help or --check-config stands behind all that is asked.

# The long options in a --help text, those that take a value with "=" for hearthd.
_hearth_options()
{
	"$@" --help 2>/dev/null | sed -nE 's/^ *(-[A-Za-z],?)? +(--[a-z][a-z0-9-]*)(=?)[ A-Z].*/\2\3/p; s/^ *(-[A-Za-z],?)? +(--[a-z][a-z0-9-]*)$/\2/p'
}

# What hearthd would take for an option: "must be one of a|b".
_hearthd_choices()
{
	hearthd "$1=" --check-config 2>&1 >/dev/null | sed -nE 's/.*must be (one of )?([a-z0-9=|, -]+)( or .*)?$/\2/p' | tr '|,' '  '
}

# What an option of a subcommand takes, where its --help names choices: "--protocol text|meta".
_hearth_choices()
{
	hearth "$1" --help 2>/dev/null | sed -nE "s/^ +$2 ([^ ]*[|][^ ]*) .*/\1/p" | tr '|' ' '
}

_hearth_reply()
{
	COMPREPLY=()
	local line
	while IFS= read -r line; do
		COMPREPLY+=("$line")
	done < <(compgen "$@")
}

_hearthd()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} option=
	# "=" is a word of its own to readline.
	if [[ $cur == = ]]; then
		option=$prev cur=
	elif [[ $prev == = ]]; then
		option=${COMP_WORDS[COMP_CWORD-2]}
	fi
	case $option${option:+ }$prev in
	--*dir\ *|--*dir)
		_hearth_reply -d -- "$cur"
		return ;;
	--user\ *|--user|-u)
		_hearth_reply -u -- "$cur"
		return ;;
	esac
	[[ $option || $prev != --* ]] || option=$prev
	if [[ $option == --* ]]; then
		local choices
		choices=$(_hearthd_choices "$option")
		if [[ $choices ]]; then
			_hearth_reply -W "$choices" -- "$cur"
			return
		fi
	fi
	if [[ $cur == -* ]]; then
		_hearth_reply -W "$(_hearth_options hearthd)" -- "$cur"
		[[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
		return
	fi
	_hearth_reply -f -- "$cur"
}

_hearth()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} sub=${COMP_WORDS[1]} choices
	if ((COMP_CWORD == 1)); then
		_hearth_reply -W "$(hearth --help 2>/dev/null | sed -nE '/^commands:/,/^$/s/^  ([a-z][a-z-]*) .*/\1/p') --help --version" -- "$cur"
		return
	fi
	if [[ $prev == --* ]]; then
		choices=$(_hearth_choices "$sub" "$prev")
		if [[ $choices ]]; then
			_hearth_reply -W "$choices" -- "$cur"
			return
		fi
	fi
	if [[ $cur == -* ]]; then
		_hearth_reply -W "$(_hearth_options hearth "$sub" | tr -d =)" -- "$cur"
		return
	fi
	_hearth_reply -f -- "$cur"
}

complete -o filenames -F _hearthd hearthd
complete -o filenames -F _hearth hearth
