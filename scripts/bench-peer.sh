#!/bin/sh
# What an operator's own script would do, for `scripts/lab bench` to be measured against: the same packages, the same
# kernel, module and image, the same tools, one thing after the other. No tricks, and nothing left out that it needs.
#
#     bench-peer.sh RELEASE MODULE IMAGE
#
# It restarts the machine once and goes on by a service of its own; /root/peer-done is there when wg0 is up.
set -eu

release=$1 module=$2 image=$3
version=${release%-*}
pin=${version%-*}-r${version##*-}
# What is begun, and the seconds since the machine was started.
part() { echo "$(cut -d ' ' -f 1 /proc/uptime) $1"; }

if [ "$(uname -r)" != "$release" ]; then
	part "package index"
	sed -i 's/^#\(.*community\)$/\1/' /etc/apk/repositories
	apk update
	part "kernel"
	apk add "linux-lts=$pin" linux-firmware-none
	sed -i 's/^default=.*/default=lts/' /etc/update-extlinux.conf
	update-extlinux
	cat > /etc/init.d/bench-peer <<-SERVICE
		#!/sbin/openrc-run
		command=$(readlink -f "$0")
		command_args="$release $module $image"
		command_background=true
		pidfile=/run/bench-peer.pid
		output_log=/root/peer.log
		error_log=/root/peer.log
		depend() { need net; }
	SERVICE
	chmod +x /etc/init.d/bench-peer
	rc-update add bench-peer default
	part "restart"
	reboot
	exit
fi

part "docker"
apk add docker docker-cli-compose kmod
rc-update add docker default
part "daemon"
rc-service docker start
until docker version > /dev/null 2>&1; do sleep 0.5; done
part "image"
docker pull -q "$image"

part "module"
mkdir -p "/lib/modules/$release/extra"
cp "$module" "/lib/modules/$release/extra/amneziawg.ko"
depmod "$release"
modprobe -a amneziawg ip_tables ip6_tables iptable_nat ip6table_nat
printf 'amneziawg\nip_tables\nip6_tables\niptable_nat\nip6table_nat\n' > /etc/modules-load.d/peer.conf
printf 'net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\n' > /etc/sysctl.d/peer.conf
sysctl -p /etc/sysctl.d/peer.conf

mkdir -p /opt/peer
cat > /opt/peer/compose.yaml <<COMPOSE
services:
  wg-easy:
    image: $image
    container_name: wg-easy
    restart: unless-stopped
    environment:
      - EXPERIMENTAL_AWG=true
      - OVERRIDE_AUTO_AWG=awg
      - INSECURE=true
      - INIT_ENABLED=true
      - INIT_USERNAME=admin
      - INIT_PASSWORD=correct horse battery staple
      - INIT_HOST=vpn.example.org
      - INIT_PORT=51820
    volumes:
      - ./data:/etc/wireguard
    cap_add: [NET_ADMIN, SYS_MODULE]
    privileged: true
    ports:
      - "51820:51820/udp"
COMPOSE
part "container"
docker compose -f /opt/peer/compose.yaml up -d
until docker exec wg-easy awg show wg0 2> /dev/null | grep -q 'interface: wg0'; do sleep 1; done
part "done"
rc-update del bench-peer default
touch /root/peer-done
