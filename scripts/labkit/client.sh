#!/bin/sh
# A client of the tunnel on a machine of its own, for `scripts/lab downtime`. It speaks WireGuard, as the lab's
# stand-ins for AmneziaWG do.
#
#     client.sh connect NAME ADDRESS SERVER_KEY ENDPOINT   /root/NAME.key and /root/NAME.shared hold its keys
#     client.sh ping ADDRESS                               five times a second; what comes is in /root/pings
#     client.sh knock NAME SERVER_KEY ENDPOINT             as a client that has just been switched on, again and again:
#                                                          the moments of its handshakes are in /root/knocks
#     client.sh stamp                                      input to output, each line with the uptime at which it came
set -u

stamp() {
	while IFS= read -r line; do
		read -r up rest < /proc/uptime
		echo "$up $line"
	done
}

case $1 in
	connect)
		modprobe wireguard
		ip link del "$2" 2> /dev/null
		ip link add "$2" type wireguard || exit 1
		wg set "$2" private-key "/root/$2.key" peer "$4" preshared-key "/root/$2.shared" endpoint "$5" \
			allowed-ips 10.8.0.1/32 || exit 1
		ip address add "$3/32" dev "$2"
		ip link set "$2" up
		ip route replace 10.8.0.1/32 dev "$2"
		;;
	ping)
		# No keepalive: what makes the client send is its pings.
		while :; do
			ping -i 0.2 "$2"
			sleep 0.2
		done 2>&1 | stamp >> /root/pings
		;;
	knock)
		ip link del "$2" 2> /dev/null
		ip link add "$2" type wireguard || exit 1
		wg set "$2" private-key "/root/$2.key"
		ip link set "$2" up
		while :; do
			# Forgotten and made anew, it has no session; its keepalive begins with a handshake at once.
			wg set "$2" peer "$3" remove
			wg set "$2" peer "$3" preshared-key "/root/$2.shared" endpoint "$4" allowed-ips 192.0.2.99/32 \
				persistent-keepalive 25
			for _ in 1 2 3 4 5; do
				sleep 0.1
				case $(wg show "$2" latest-handshakes) in
					*"	0") ;;
					*"	"*) echo handshake; break ;;
				esac
			done
		done | stamp >> /root/knocks
		;;
	stamp) stamp ;;
esac
