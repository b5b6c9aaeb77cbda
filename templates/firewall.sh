#!/bin/sh
# Written by awg-install: the rules on the host. `awg-firewall` calls this before docker starts.
#   start   puts the rules in place, first in their parents     stop    takes them away
#   check   says what is missing, and ends with 1
# Chains of our own, hung into DOCKER-USER and into mangle's PREROUTING; nothing else is touched. What reaches
# this host itself (INPUT, where ssh comes in) is not filtered here.
set -u
export LC_ALL=C

# program, table, chain, how many rules, parent, what is looked at there
parts() {
	cat <<'END'
{% for part in parts %}
{{ part.program }} {{ part.table }} {{ part.chain }} {{ part.rules | length }} {{ part.parent }} {{ part.match }}
{% endfor %}
END
}

rules() { # program, table
	case $1-$2 in
{% for part in parts %}
	{{ part.program }}-{{ part.table }}) cat <<'END' ;;
{% for rule in part.rules %}
-A {{ part.chain }} {{ rule }}
{% endfor %}
END
{% endfor %}
	esac
}

# The jump to our chain is the first rule of its parent.
first() {
	[ "$("$program" -w 10 -t "$table" -S "$parent" 2>/dev/null | grep '^-A' | head -n 1)" = "-A $parent ${match:+$match }-j $chain" ]
}

start() {
	# What was wanted once and is not any more.
	for program in iptables ip6tables; do
		command -v "$program" >/dev/null || continue
		parts | grep -q "^$program filter" || remove "$program" filter {{ published }} DOCKER-USER ""
		parts | grep -q "^$program mangle" || remove "$program" mangle {{ isolated }} PREROUTING "-i {{ bridge }}"
	done
	parts | while read -r program table chain _ parent match; do
		if [ "$parent" = DOCKER-USER ]; then
			# Docker takes it over when it starts.
			"$program" -w 10 -N "$parent" 2>/dev/null
		fi
		{
			echo "*$table"
			echo ":$chain - [0:0]"
			rules "$program" "$table"
			echo COMMIT
		} | "$program-restore" -w 10 --noflush || exit 1
		first && continue
		unhook "$program" "$table" "$chain" "$parent" "$match"
		# shellcheck disable=SC2086
		"$program" -w 10 -t "$table" -I "$parent" $match -j "$chain" || exit 1
	done
}

unhook() { # program, table, chain, parent, match
	# shellcheck disable=SC2086
	while "$1" -w 10 -t "$2" -D "$4" $5 -j "$3" 2>/dev/null; do :; done
}

remove() { # program, table, chain, parent, match
	unhook "$@"
	"$1" -w 10 -t "$2" -F "$3" 2>/dev/null
	"$1" -w 10 -t "$2" -X "$3" 2>/dev/null
}

stop() {
	for program in iptables ip6tables; do
		command -v "$program" >/dev/null || continue
		remove "$program" filter {{ published }} DOCKER-USER ""
		remove "$program" mangle {{ isolated }} PREROUTING "-i {{ bridge }}"
		# Goes only when nothing is in it and nothing leads to it: then docker has not made it.
		"$program" -w 10 -X DOCKER-USER 2>/dev/null
	done
	return 0
}

check() {
	parts | while read -r program table chain count parent match; do
		have=$("$program" -w 10 -t "$table" -S "$chain" 2>/dev/null | grep -c '^-A')
		[ "$have" -eq "$count" ] || { echo "$program: the chain $chain has $have of $count rules" >&2; exit 1; }
		first || { echo "$program: $parent does not lead to $chain first" >&2; exit 1; }
	done
}

case ${1:-} in
	start) start ;;
	stop) stop ;;
	check) check ;;
	*)
		echo "usage: $0 start|stop|check" >&2
		exit 2
		;;
esac
