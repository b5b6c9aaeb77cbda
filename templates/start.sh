#!/bin/sh
# Written by awg-install. Runs in the container, before the image's own program and in its place when a part
# fails: a server whose peers are not kept apart does not start.
set -u

fail() {
	echo "awg-install: $*" >&2
	exit 1
}
{% if nft %}

# The kernel has no ip_tables, and the image leads its names to iptables-legacy. /usr/local/sbin comes first.
mkdir -p /usr/local/sbin || fail "/usr/local/sbin cannot be made"
for family in {{ programs | join(" ") }}; do
	for suffix in "" -save -restore; do
		program=$(command -v "$family-nft$suffix") || fail "the image has no $family-nft$suffix"
		ln -sf "$program" "/usr/local/sbin/$family$suffix" || fail "$family cannot be led to $program"
	done
done
PATH=/usr/local/sbin:$PATH
export PATH
{% endif %}
{% if isolate %}

# Chains of our own, before those of the image: it appends its rules, these come first. What returns from
# them goes the image's way.
{% for part in parts %}
{{ part.program }}-restore -w 10 --noflush <<'END' ||
*filter
{% for chain in part.chains %}
:{{ chain }} - [0:0]
{% endfor %}
{% for rule in part.rules %}
{{ rule }}
{% endfor %}
COMMIT
END
{
	# It says more of why a table cannot be had.
	{{ part.program }} -w 10 -S >/dev/null
	fail "{{ part.program }}-restore refuses the rules: do the kernel's tables fit the image's {{ part.program }}?"
}
{% endfor %}
{% endif %}

# For `docker logs wg-easy | grep -i amnezia`: the server says nothing of it on standard output.
echo "awg-install: {% if mode == "wireguard" %}standard WireGuard, not AmneziaWG{% else %}AmneziaWG, {{ mode }} mode{% endif %}"
[ $# -gt 0 ] || fail "nothing to start: the image's command is not known"
exec "$@"
