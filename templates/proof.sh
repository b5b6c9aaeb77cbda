# Runs in a throw-away container without a network: two interfaces whose packets go over the loopback device, and
# routes by which what is for the one leaves through the other. Says how far it came, and last when the handshake was.
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
# Both addresses are local, and would be reached without either interface: the table of local addresses comes later
# than the routes for what is sent from here ("iif lo").
for n in 0 1; do
	m=$((1 - n))
	ip address add 10.254.254.$((n + 1))/32 dev proof$n
	ip link set dev proof$n up
	ip route add 10.254.254.$((m + 1))/32 dev proof$n src 10.254.254.$((n + 1)) table $((101 + n))
	ip rule add pref $((10 + n)) iif lo to 10.254.254.$((m + 1)) lookup $((101 + n))
done
ip rule add pref 100 lookup local
ip rule del pref 0
echo routed
ping -c 1 -W 5 10.254.254.2 > /dev/null || ping -c 1 -W 5 10.254.254.2 > /dev/null
# Over the loopback device alone, no interface of ours would have counted it.
awg show proof1 latest-handshakes
