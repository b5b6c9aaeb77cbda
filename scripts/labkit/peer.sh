#!/bin/sh
# Plays a peer of the tunnel, and the places it may want to reach; runs in the guest.
#
#   place            makes the places, each in a network namespace with a small web server:
#                      outside  203.0.113.10, 2001:db8:1::10    the internet, where the peer sits as well
#                      inside   169.254.169.254, 192.168.77.10, fd77::10   a metadata service, a private network
#                    and on this host: a server on port 2222, for its sshd; 203.0.113.1 and 2001:db8:1::1 are its
#                    public addresses
#   connect PASSWORD makes a client on the admin page and its tunnel, from outside; waits for a handshake
#   probe            says of each place whether the peer reaches it, one a line
#   pull BYTES, push BYTES
#                    so many come to the peer from outside, or go there; fails when others arrive
#   take             takes all of it away
#
# The peer's interface is made in the namespace `outside`, where its own packets stay, and moved into `peer`.
# It speaks WireGuard, as the lab's stand-ins for AmneziaWG do.
set -u
# BusyBox's ip knows no network namespaces.
ip -V 2> /dev/null | grep -q iproute2 || apk add --quiet iproute2 || exit 1
image=/root/peer-image
server=203.0.113.1:51820

# A namespace with a link to this host: name, this host's addresses, its own.
namespace() {
	ip netns add "$1"
	ip link add "$1" type veth peer name way netns "$1"
	for address in $2; do ip address add "$address" dev "$1" $(without_check "$address"); done
	ip link set "$1" up
	for address in $3; do ip -n "$1" address add "$address" dev way $(without_check "$address"); done
	ip -n "$1" link set lo up
	ip -n "$1" link set way up
}

# IPv6 would look for a while whether somebody else has the address.
without_check() { case $1 in *:*) echo nodad ;; esac; }

serve() { # port, what it answers, then what runs it
	# The request is read first: what lies unread at the end would reset the connection.
	cat > "$image/bin/say-$2" <<- SAY
		#!/bin/sh
		while read -r line && [ \${#line} -gt 1 ]; do :; done
		printf 'HTTP/1.0 200 OK\r\n\r\n$2\n'
	SAY
	chmod 755 "$image/bin/say-$2"
	port=$1 what=$2
	shift 2
	"$@" chroot "$image" nc -ll -p "$port" -e "/bin/say-$what" > /dev/null 2>&1 &
	echo $! >> /run/peer.pids
}

place() {
	: > /run/peer.pids
	if [ ! -d "$image" ]; then
		mkdir "$image"
		docker create --name peer-image "$(docker inspect --format '{{.Image}}' wg-easy)" true > /dev/null
		docker export peer-image | tar -x -C "$image"
		docker rm peer-image > /dev/null
	fi
	namespace outside "203.0.113.1/24 2001:db8:1::1/64" "203.0.113.10/24 2001:db8:1::10/64"
	namespace inside "169.254.169.1/24 192.168.77.1/24 fd77::1/64" "169.254.169.254/24 192.168.77.10/24 fd77::10/64"
	for name in outside inside; do
		# Docker 26 translates no IPv6 unless told to: the way back is a route.
		case $name in outside) v4=203.0.113.1 v6=2001:db8:1::1 ;; *) v4=192.168.77.1 v6=fd77::1 ;; esac
		ip -n "$name" route add 10.42.42.0/24 via "$v4"
		ip -n "$name" -6 route add fdcc:ad94:bacf:61a3::/64 via "$v6" 2> /dev/null
		serve 80 "$name" ip netns exec "$name"
	done
	serve 2222 host env
}

connect() {
	page=http://10.42.42.42:51821/api/client
	printf '{"name":"peer","expiresAt":null}' > /run/peer.json
	cp /run/peer.json "$image/root/peer.json"
	chroot "$image" wget -q -O /dev/null --header "Authorization: Basic $(printf 'admin:%s' "$1" | base64)" \
		--header 'Content-Type: application/json' --post-file /root/peer.json "$page" || return 1
	again
}

# The tunnel of the client that was made last.
again() {
	set -- $(docker exec wg-easy sqlite3 -separator ' ' /etc/wireguard/wg-easy.db \
		'SELECT ipv4_address, c.private_key, pre_shared_key, c.public_key, i.public_key FROM clients_table c, interfaces_table i ORDER BY c.id DESC LIMIT 1')
	address=$1 mine=$2 shared=$3 me=$4 theirs=$5
	tool=wg
	docker exec wg-easy awg show wg0 > /dev/null 2>&1 && tool=awg
	# The stand-in gives its clients an IPv4 address only.
	docker exec wg-easy "$tool" set wg0 peer "$me" allowed-ips "$address/32,fdcc:ad94:bacf:61a4::cafe:2/128"
	ip netns add peer 2> /dev/null
	ip -n peer link del tunnel 2> /dev/null
	umask 077
	modprobe wireguard 2> /dev/null
	# Where the kernel has none, the image's program in userspace.
	ip -n outside link add tunnel type wireguard 2> /dev/null || {
		mkdir -p "$image/dev/net" "$image/run"
		[ -e "$image/dev/net/tun" ] || mknod "$image/dev/net/tun" c 10 200
		ip netns exec outside chroot "$image" wireguard-go -f tunnel > /run/peer.log 2>&1 &
		echo $! >> /run/peer.pids
		sleep 2
	}
	echo "$mine" > "$image/root/mine"
	echo "$shared" > "$image/root/shared"
	ip netns exec outside chroot "$image" wg set tunnel private-key /root/mine peer "$theirs" preshared-key /root/shared \
		endpoint "$server" allowed-ips 0.0.0.0/0,::/0 persistent-keepalive 5
	ip -n outside link set tunnel netns peer
	ip -n peer address add "$address/32" dev tunnel
	ip -n peer address add fdcc:ad94:bacf:61a4::cafe:2/128 dev tunnel nodad
	ip -n peer link set lo up
	ip -n peer link set tunnel up
	ip -n peer route add default dev tunnel
	ip -n peer -6 route add default dev tunnel
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		ip netns exec peer chroot "$image" ping -c 1 -W 2 10.8.0.1 > /dev/null 2>&1 && echo connected && return 0
	done
	echo "no answer through the tunnel"
	return 1
}

reach() { # name, address
	answer=$(timeout 16 ip netns exec peer chroot "$image" wget -q -T 15 -O - "http://$2/" 2>&1)
	# A page that sends elsewhere has answered.
	case $answer in
		outside | inside | host | *stand-in*) echo "$1 reached" ;;
		*) echo "$1 closed" ;;
	esac
}

probe() {
	{
		reach internet 203.0.113.10 &
		reach internet6 "[2001:db8:1::10]" &
		reach page-tunnel 10.8.0.1:51821 &
		reach page-container 10.42.42.42:51821 &
		reach page-tunnel6 "[fdcc:ad94:bacf:61a4::cafe:1]:51821" &
		wait
		reach page-published 203.0.113.1:51821 &
		reach host-public 203.0.113.1:2222 &
		reach host-private 10.0.2.15:2222 &
		reach host-bridge 10.42.42.1:2222 &
		reach host-public6 "[2001:db8:1::1]:2222" &
		wait
		reach metadata 169.254.169.254 &
		reach private 192.168.77.10 &
		reach private6 "[fd77::10]" &
		wait
	} | sort
}

pull() {
	give "$1"
	ip netns exec outside chroot "$image" nc -l -p 5001 -e /bin/give < /dev/null > /dev/null &
	sleep 0.5
	came=$(ip netns exec peer chroot "$image" nc 203.0.113.10 5001 < /dev/null | wc -c)
	arrived "$1"
}

push() {
	give "$1"
	ip netns exec outside chroot "$image" nc -l -p 5001 < /dev/null 2> /dev/null | wc -c > /run/peer.came &
	sleep 0.5
	ip netns exec peer chroot "$image" nc 203.0.113.10 5001 -e /bin/give < /dev/null > /dev/null
	wait
	came=$(cat /run/peer.came)
	arrived "$1"
}

give() {
	[ -e "$image/dev/zero" ] || mknod "$image/dev/zero" c 1 5
	printf '#!/bin/sh\nexec head -c %s /dev/zero\n' "$1" > "$image/bin/give"
	chmod 755 "$image/bin/give"
}

arrived() {
	echo "$came of $1 bytes came"
	[ "$came" -eq "$1" ]
}

take() {
	while read -r pid; do kill "$pid" 2> /dev/null; done < /run/peer.pids
	for name in peer outside inside; do ip netns del "$name" 2> /dev/null; done
	rm -rf "$image" /run/peer.pids /run/peer.json /run/peer.came
}

"$@"
