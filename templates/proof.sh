# Runs in a throw-away container without a network: two interfaces whose packets go over the loopback device,
# one of which is then given away to the network namespace of the second container. Says how far it came.
set -e
cd /tmp
umask 077
ip link add dev proof0 type amneziawg
ip link add dev proof1 type amneziawg
echo made
for n in 0 1; do
	awg genkey > key$n
	awg pubkey < key$n > pub$n
done
# Obfuscation with values of its own: a tool of another generation than the module cannot set them.
for n in 0 1; do
	m=$((1 - n))
	awg set proof$n listen-port $((51900 + n)) private-key key$n jc 4 jmin 40 jmax 70 s1 72 s2 56 \
		h1 1020325451 h2 1528465412 h3 2028465413 h4 828465414 \
		peer "$(cat pub$m)" endpoint 127.0.0.1:$((51900 + m)) allowed-ips 10.254.254.$((m + 1))/32
	awg show proof$n listen-port > /dev/null
done
echo configured
ip address add 10.254.254.1/32 dev proof0
ip link set dev proof0 up
ip route add 10.254.254.2/32 dev proof0
for process in /proc/[0-9]*; do
	case $(tr '\0' ' ' < "$process/cmdline" 2> /dev/null) in
		"sleep 121 "*) other=${process#/proc/} ;;
	esac
done
ip link set dev proof1 netns "$other"
echo parted
