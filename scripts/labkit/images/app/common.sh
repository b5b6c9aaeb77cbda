# Shared by `server` and `web`: database access, log lines, commands.

readonly RELEASE=v15.4.0-standin
readonly DATABASE=/etc/wireguard/wg-easy.db
readonly INTERFACE=wg0
readonly SINGLE_QUOTE="'"

# One line of the debug log, as wg-easy writes it: time, namespace, text.
log() {
  local TZ=UTC0 fraction=${EPOCHREALTIME#*.}
  printf '%(%Y-%m-%dT%H:%M:%S)T.%sZ %s %s\n' -1 "${fraction:0:3}" "$1" "$2" >&2
}

# Runs SQL from standard input: no value ever stands in a process list. Each
# process costs a good part of a second on an emulated machine, so the callers
# gather their statements.
sql() {
  sqlite3 -batch -bail -noheader -separator $'\t' -cmd '.timeout 5000' "$DATABASE"
}

# A text as an SQL literal.
quoted() {
  printf "'%s'" "${1//$SINGLE_QUOTE/$SINGLE_QUOTE$SINGLE_QUOTE}"
}

value() {
  sql <<< "SELECT $1 FROM $2;"
}

# Logs a command and runs it. What it prints is shown only if it fails.
run() {
  log CMD "\$ $1"
  local output
  if ! output=$(bash -c "$1" 2>&1); then
    printf 'Error: Command failed: %s\n%s\n' "$1" "$output" >&2
    return 1
  fi
}

setup_done() {
  [[ $(value setup_step general_table) == 0 ]]
}

# SHA-512 crypt of a password on standard input; the salt is an argument.
hashed() {
  mkpasswd -P 0 -m sha512 -S "$1"
}
