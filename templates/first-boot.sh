#!/bin/sh
# Made by awg-install {{ version }}: user-data for a host's first boot, with tiny-cloud or cloud-init.
# Installs once, always ends with 0 (or first-boot tools would run it again), and leaves the truth to
# `awg-install status --wait`. Whoever can reach the host's metadata service can read this: no secret belongs here.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 077

say() { echo "awg-install: $*"; }
give_up() {
	say "$*"
	exit 0
}

[ "$(id -u)" = 0 ] || give_up "not run as root; nothing was done"
[ ! -e /var/lib/awg-install/receipt.json ] || give_up "begun already; see: awg-install status"
{% if url %}

program=/root/awg-install
url={{ url | shell }}
sha256={{ sha256 }}
fetch() {
	if command -v wget >/dev/null; then wget -q -T 60 -O "$program.part" "$url"; else curl -fsSL -m 600 -o "$program.part" "$url"; fi
}
fits() { echo "$sha256  $program.part" | sha256sum -c - >/dev/null 2>&1; }
tries=0
until fetch && fits; do
	tries=$((tries + 1))
	[ $tries -lt {{ tries }} ] || give_up "$url cannot be had, or its SHA-256 is not $sha256; nothing was done"
	sleep $((tries * 5))
done
mv "$program.part" "$program" && chmod 0700 "$program" || give_up "$program cannot be written"
{% else %}

# It was put into the image.
program={{ program | shell }}
[ -x "$program" ] || give_up "$program is not there; nothing was done"
{% endif %}
{% if config %}

cat >{{ file | shell }} <<'END OF CONFIGURATION' || give_up "the configuration cannot be written"
{{ config }}END OF CONFIGURATION
{% endif %}

"$program" install --unattended --config {{ file | shell }} </dev/null
code=$?
case $code in
	0) say "how it ends: awg-install status --wait" ;;
	*) say "ended with $code; the lines above say why; see also: awg-install status, /var/log/awg-install.log" ;;
esac
exit 0
