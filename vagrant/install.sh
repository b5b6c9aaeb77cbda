#!/bin/sh
# In the machine, as root: installs without a question. The restart, where one is needed, is left to restart.rb.
set -eu
install -m 0755 /tmp/awg-install /root/awg-install
set -- --unattended --no-reboot --config /tmp/awg-install.yaml
if [ -f /tmp/amneziawg.ko ]; then set -- "$@" --module-source file --module-path /tmp/amneziawg.ko; fi
code=0
/root/awg-install "$@" || code=$?
case $code in
	# 7: a restart is needed.
	7) : > /run/awg-restart ;;
	# 8: below the top of the ladder; the checks say whether that was to be.
	0 | 8) ;;
	*) exit "$code" ;;
esac
