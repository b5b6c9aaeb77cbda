#!/bin/sh
# Written by awg-install. apk calls this before and after each transaction, while it holds its lock: nothing
# here calls apk, waits for anything or fails.

[ "$1" = post-commit ] || exit 0
had=
for file in /lib/modules/*/{{ module }}; do
	[ -f "$file" ] || continue
	had=${file#/lib/modules/}
	had="${had%%/*}"
done
[ -n "$had" ] || exit 0
for file in /usr/share/kernel/*/kernel.release; do
	[ -f "$file" ] || continue
	read -r release < "$file" || continue
	# Only the flavour that has a module is of interest.
	[ "${release##*-}" = "${had##*-}" ] || continue
	[ ! -f "/lib/modules/$release/{{ module }}" ] || continue
	echo "awg-install: the kernel is now $release, and the AmneziaWG module is for $had."
	echo "awg-install: from the next boot on the server runs in userspace mode, until you run: awg-install upgrade"
done
exit 0
