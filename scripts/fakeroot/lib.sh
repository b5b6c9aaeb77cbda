# Shared by the stand-in programs of a prepared root. Sourced, never run.
#
# A stand-in takes the arguments, writes the files and returns the exit codes of the program it plays,
# below the directory that holds it and nowhere else. Every call is a line in .fakeroot/commands.

root=${FAKE_ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}
here=$root/.fakeroot
me=${0##*/}
# Knobs that outlive one call: lines FAKE_NAME=value.
[ ! -f "$here/knobs" ] || . "$here/knobs"

# What one stand-in has another do is not what the program asked for.
if [ -z "${FAKE_NESTED:-}" ]; then
	printf '%s\n' "$me${*:+ $*}" >> "$here/commands"
	export FAKE_NESTED=1
fi

# FAKE_FAIL: shell patterns, one a line, against the whole command line; a match fails at once.
if [ -n "${FAKE_FAIL:-}" ]; then
	set -f
	while IFS= read -r pattern; do
		[ -n "$pattern" ] || continue
		# shellcheck disable=SC2254 # the pattern is meant to be one
		case "$me $*" in
			$pattern)
				echo "$me: failed because FAKE_FAIL asks for it" >&2
				exit 1
				;;
		esac
	done <<-PATTERNS
		$FAKE_FAIL
	PATTERNS
	set +f
fi

# FAKE_SLOW: a pattern against the whole command line; a match takes a second longer.
if [ -n "${FAKE_SLOW:-}" ]; then
	# shellcheck disable=SC2254
	case "$me $*" in $FAKE_SLOW) sleep 1 ;; esac
fi

# FAKE_AWAITS: "PATH PATTERN"; a command line that matches goes on once PATH is there, and fails after a minute without.
if [ -n "${FAKE_AWAITS:-}" ]; then
	# shellcheck disable=SC2254
	case "$me $*" in
		${FAKE_AWAITS#* })
			left=600
			while [ ! -e "$root${FAKE_AWAITS%% *}" ]; do
				left=$((left - 1))
				[ $left -gt 0 ] || { echo "$me: ${FAKE_AWAITS%% *} did not come" >&2; exit 1; }
				sleep 0.1
			done
			;;
	esac
fi

# The tests run these programs some ten thousand times: what the shell can do by itself starts no process.

running() { # the kernel that runs, in $release
	release=
	read -r release < "$root/proc/sys/kernel/osrelease"
}

# `rm -f` where there is something to be removed.
forget() {
	local file
	for file in "$@"; do
		[ ! -e "$file" ] || { rm -f "$@"; return; }
	done
}

# Directories, where they are not there yet.
directory() {
	local dir
	for dir in "$@"; do
		[ -d "$dir" ] || { mkdir -p "$@"; return; }
	done
}

# A text with every occurrence of a character replaced by another, in $replaced.
replace() { # text, character, other
	local rest=$1
	replaced=
	while :; do
		case $rest in *"$2"*) ;; *) break ;; esac
		replaced=$replaced${rest%%"$2"*}$3
		rest=${rest#*"$2"}
	done
	replaced=$replaced$rest
}

started() { [ -e "$root/run/openrc/started/$1" ]; }

# The engine's socket answers where its service runs; other init systems leave a mark. A store that is
# marked as spoilt keeps it down, as databases do that a power cut has emptied.
engine_runs() { [ ! -e "$root/var/lib/docker/spoilt" ] && engine_started; }
engine_started() { started docker || [ -e "$root/run/docker.sock" ]; }

loaded() {
	local name
	while read -r name _; do
		[ "$name" != "$1" ] || return 0
	done < "$root/proc/modules"
	return 1
}

# Lines of a file that do not begin so, written back in place.
drop_lines() { # beginning, file
	local line kept=
	[ -f "$2" ] || return 0
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in "$1"*) continue ;; esac
		kept="$kept$line
"
	done < "$2"
	printf %s "$kept" > "$2"
}

# Does a file have a line that begins so?
has_line() { # beginning, file
	local line
	[ -f "$2" ] || return 1
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in "$1"*) return 0 ;; esac
	done < "$2"
	return 1
}

# Sockets of the host: what FAKE_UDP and FAKE_TCP name, sshd, and the ports of running containers.
refresh_ports() {
	local file port tcp="22 ${FAKE_TCP:-}" udp="${FAKE_UDP:-}"
	for file in "$root"/var/lib/docker/containers/*/ports; do
		[ -f "$file" ] || continue
		while read -r proto port; do
			case $proto in
				udp) udp="$udp $port" ;;
				tcp) tcp="$tcp $port" ;;
			esac
		done < "$file"
	done
	# shellcheck disable=SC2086 # lists of numbers
	sockets 0A $tcp > "$root/proc/net/tcp"
	# shellcheck disable=SC2086
	sockets 07 $udp > "$root/proc/net/udp"
}

# A table like /proc/net/udp: the state, then the ports.
sockets() {
	local state=$1 port
	shift
	echo "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	for port in "$@"; do
		printf '  0: 00000000:%04X 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 21034 2 0000000000000000 0\n' \
			"$port" "$state"
	done
}
