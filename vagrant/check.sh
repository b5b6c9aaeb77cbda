#!/bin/sh
# In the machine, as root: what the lab's scenario `fresh` looks at, by the host's own tools.
set -eu
failed=0
check() { # what, command...
	what=$1
	shift
	if "$@" > /tmp/checked 2>&1; then
		echo "ok   $what"
	else
		echo "FAIL $what: $(tail -n 1 /tmp/checked)"
		failed=1
	fi
}
mode=$(awg-install status --output json | sed -n 's/.*"mode": *"\([a-z]*\)".*/\1/p' | head -n 1)
echo "mode: $mode, kernel: $(uname -r)"
check "the container is healthy" sh -c '[ "$(docker inspect --format "{{.State.Health.Status}}" wg-easy)" = healthy ]'
check "wg0 is in the container" docker exec wg-easy ip link show wg0
case $mode in
	kernel)
		check "the module is loaded" grep -qw amneziawg /proc/modules
		check "wg0 is of the module's kind" sh -c 'docker exec wg-easy ip -d link show wg0 | grep -q amneziawg'
		;;
	userspace) check "amneziawg-go runs" sh -c 'docker top wg-easy | grep -q amneziawg-go' ;;
esac
check "UDP port 51820 is published" sh -c 'docker port wg-easy | grep -q 51820/udp'
check "no resume service is left" sh -c '! [ -e /etc/init.d/awg-install ]'
check "no password is left" sh -c '! grep -rq INIT_PASSWORD /opt/wg-easy'
check "doctor" awg-install doctor
check "a second run has nothing to do" sh -c 'awg-install --unattended | grep -q "nothing to do"'
exit $failed
