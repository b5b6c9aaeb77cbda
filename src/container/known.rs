//! Known failures of the container: the sign in what it, the engine or compose says, the likely cause, and
//! what to do about it.

/// One known failure.
#[derive(Debug, PartialEq)]
pub struct Known {
    /// Rows of one subject exclude each other: the first that fits is told.
    subject: &'static str,
    /// All of them are there.
    signs: &'static [&'static str],
    pub cause: &'static str,
    pub remedy: &'static str,
}

/// Follows from other failures, and is told only where no other row fits.
const GENERAL: &str = "";
/// More of them confuse.
const MOST: usize = 3;

const TABLES: &str = "modprobe -a ip_tables iptable_nat iptable_filter ip6_tables ip6table_nat ip6table_filter \
    (/etc/modules-load.d/awg-install.conf has them loaded at boot)";
const RECREATE: &str = "run this again: the container is made anew";

/// The specific rows of a subject come first.
static KNOWN: &[Known] = &[
    // iptables, ip(6)tables-legacy: libiptc's "Permission denied (you must be root)".
    row(
        "tables",
        &["can't initialize ip", "you must be root"],
        "the container lacks the rights to change firewall rules (NET_ADMIN, NET_RAW)",
        RECREATE,
    ),
    row("tables", &["can't initialize ip6tables table"], "the host lacks the ip6tables-legacy tables", TABLES),
    row("tables", &["can't initialize iptables table"], "the host lacks the iptables-legacy tables", TABLES),
    row(
        "tables",
        &["Extension ", "not supported, missing kernel module?"],
        "the host's kernel lacks an extension that the firewall rules use",
        "modprobe -a xt_MASQUERADE xt_nat; where the kernel was upgraded since the last boot: restart the host",
    ),
    row(
        "tables",
        &["iptables failed: ", "DOCKER"],
        "the engine's own firewall chains are gone: something has set the host's firewall anew after the engine was started",
        "restart the engine (`rc-service docker restart`, `systemctl restart docker`), then run this again",
    ),
    row(
        "tables",
        &["No chain/target/match by that name"],
        "the host's kernel lacks a target or match that the firewall rules use",
        "modprobe -a xt_MASQUERADE xt_nat; where the kernel was upgraded since the last boot: restart the host",
    ),
    // This program's own start.sh, where no row above says why.
    row(
        "tables",
        &["awg-install: ip"],
        "the packet filter in the container cannot be set up, and no server runs without",
        "see the line itself, and `lsmod | grep -e ip_tables -e nf_tables`",
    ),
    // amneziawg-go and wireguard-go (tun_linux.go), moby (oci/devices_linux.go).
    row(
        "interface",
        &["gathering device information", "/dev/net/tun"],
        "the host has no /dev/net/tun",
        "modprobe tun; on a rented container let the provider switch on TUN/TAP",
    ),
    row(
        "interface",
        &["/dev/net/tun does not exist"],
        "there is no /dev/net/tun in the container, and the kernel module cannot be used either",
        "modprobe tun, and leave the `devices` of compose.yaml in; then run this again",
    ),
    row(
        "interface",
        &["Failed to create TUN device", "operation not permitted"],
        "the container may not use /dev/net/tun",
        "leave `devices` and `cap_add` of compose.yaml as they are; in a rented container the provider must allow TUN/TAP",
    ),
    row(
        "interface",
        &["Failed to create TUN device", "no such device"],
        "/dev/net/tun is there, and the kernel has no tun driver",
        "modprobe tun; where the kernel was upgraded since the last boot: restart the host",
    ),
    row(
        "interface",
        &["Unable to modify interface: "],
        "the image's `awg` cannot configure the kernel module: they are of different generations, or a setting is refused",
        "`dmesg | tail` may say which; use an image and a module of one generation, or mode: userspace",
    ),
    row(
        "interface",
        &["RTNETLINK answers: Operation not permitted"],
        "the container may not make network interfaces (NET_ADMIN)",
        RECREATE,
    ),
    // runc (libcontainer: error during container init) 1.1 and 1.2, then 1.3 and later.
    row(
        "ipv6",
        &["/proc/sys/net/ipv6/", "no such file or directory"],
        "IPv6 is switched off on this host, and the container asks for it",
        "set network.ipv6: off",
    ),
    row(
        "ipv6",
        &["open sysctl net.ipv6."],
        "IPv6 is switched off on this host, and the container asks for it",
        "set network.ipv6: off",
    ),
    row("ipv6", &["IPv6 is disabled on this device"], "IPv6 is switched off in the container", "set network.ipv6: off"),
    row(
        "ipv6",
        &["ip -6 address add", "RTNETLINK answers: Permission denied"],
        "IPv6 is switched off in the container",
        "set network.ipv6: off",
    ),
    row(
        "sysctl",
        &["/proc/sys/net/", "read-only file system"],
        "the engine may not set kernel parameters: it runs in a container itself",
        "use a virtual machine, or let the provider allow nested containers",
    ),
    row(
        "sysctl",
        &["/proc/sys/net/", "permission denied"],
        "the engine may not set kernel parameters: it runs in a container itself, or without root's rights",
        "use a virtual machine, or an engine that runs as root",
    ),
    // moby (portallocator), docker-proxy.
    row(
        "port",
        &["port is already allocated"],
        "another container has the port",
        "`docker ps` names it: stop it, or set server.port or server.web_port to a free one",
    ),
    row(
        "port",
        &["EADDRINUSE"],
        "another program in the container has the web page's port",
        "set server.web_port to another port",
    ),
    row(
        "port",
        &["address already in use"],
        "another program on the host has the port",
        "`ss -lunpt` names it: stop it, or set server.port or server.web_port to a free one",
    ),
    // moby (ipamapi).
    row(
        "network",
        &["Pool overlaps with other"],
        "another network of the engine has the container's range of addresses",
        "`docker network ls` and `docker network inspect` name it; remove that network, or run this again: a free range is chosen",
    ),
    row(
        "network",
        &["Address already in use"],
        "another container has the address in this network",
        "`docker network inspect wg-easy_wg` names it: take it out of the network",
    ),
    row(
        "network",
        &["network ", " not found"],
        "the container's network was removed",
        "remove the container (`docker rm wg-easy`), then run this again: both are made anew",
    ),
    // moby (bridge_linux.go): the veth driver cannot be loaded.
    row(
        "kernel",
        &["pair interfaces: operation not supported"],
        "the kernel that runs cannot load its modules any more: it was upgraded since the last boot",
        "restart the host",
    ),
    row(
        "kernel",
        &["cgroup mountpoint does not exist"],
        "the control groups are not mounted",
        "rc-service cgroups start, and rc-update add cgroups sysinit",
    ),
    row(
        "kernel",
        &["no cgroup mount found"],
        "the control groups are not mounted",
        "rc-service cgroups start, and rc-update add cgroups sysinit",
    ),
    row(
        "image",
        &["exec format error"],
        "the image was made for another architecture than this machine's",
        "set container.image to one for this architecture (`uname -m`)",
    ),
    row(
        "image",
        &["executable file not found in $PATH"],
        "the image lacks the program that it shall start",
        "set container.image to a wg-easy of major version 15",
    ),
    row(
        "memory",
        &["JavaScript heap out of memory"],
        "the server has run out of memory",
        "use a machine with more memory, or add swap",
    ),
    row("disk", &["no space left on device"], "the disk is full", "free some space (`df -h`, `docker system df`)"),
    row("disk", &["SQLITE_FULL"], "the disk is full", "free some space (`df -h`, `docker system df`)"),
    // libsql, SQLite.
    row(
        "database",
        &["database disk image is malformed"],
        "the server's database is damaged",
        "restore a backup of wg-easy.db, or move the file away: all clients are lost then",
    ),
    row(
        "database",
        &["file is not a database"],
        "the server's database is damaged",
        "restore a backup of wg-easy.db, or move the file away: all clients are lost then",
    ),
    row(
        "database",
        &["attempt to write a readonly database"],
        "the container cannot write to its data",
        "the directory `data` beside compose.yaml belongs to root, and its file system is mounted read-write",
    ),
    row(
        "database",
        &["unable to open database file"],
        "the container cannot write to its data",
        "the directory `data` beside compose.yaml belongs to root, and its file system is mounted read-write",
    ),
    row(
        "database",
        &["permission denied", "/etc/wireguard"],
        "the container cannot write to its data",
        "the directory `data` beside compose.yaml belongs to root; an engine with userns-remap cannot use it",
    ),
    // wg-easy (config.ts, WireGuard.ts, user/types.ts).
    row(
        "settings",
        &["Missing environment variable: "],
        "the container's environment is incomplete: wg-easy.env was edited",
        "run this again: the file is written anew",
    ),
    row(
        "settings",
        &["You are using an invalid Configuration for wg-easy"],
        "PASSWORD or PASSWORD_HASH of wg-easy 14 is set, which version 15 refuses",
        "take it out of the environment",
    ),
    row(
        "settings",
        &["must be at least 12 Character"],
        "the password is too short for the server",
        "set a password of at least 12 characters",
    ),
    row(
        "settings",
        &["User already exists"],
        "the database of an earlier start is there, and the first start is asked for once more",
        "run this again; if it stays so, move the directory `data` away",
    ),
    row("settings", &["Unsupported config option"], "compose is too old", "install Docker Compose version 2"),
    row("settings", &["Additional propert", "not allowed"], "compose is too old", "install Docker Compose version 2"),
    row(
        "settings",
        &["is already in use by container"],
        "another container has the name",
        "remove it, or choose another container.name",
    ),
    // What a health check says where it cannot be run at all.
    row(
        GENERAL,
        &["OCI runtime exec failed"],
        "the engine cannot run a program in the container",
        "restart the engine, then run this again",
    ),
    row(
        GENERAL,
        &["Unknown device type"],
        "the interface could not be made: the kernel module is not loaded, and there is no other way",
        "modprobe amneziawg, or modprobe tun for the userspace mode",
    ),
    row(
        GENERAL,
        &["Unable to access interface"],
        "the interface is not there, or not of the kind that the program asks for",
        "`dmesg | tail` may say why",
    ),
    row(
        GENERAL,
        &["Cannot find device \"wg0\""],
        "the interface could not be made",
        "check `lsmod | grep amneziawg` and /dev/net/tun",
    ),
    row(
        GENERAL,
        &["Failed to connect to Database"],
        "the server cannot use its database",
        "the line after it says why; the directory `data` beside compose.yaml holds it",
    ),
];

const fn row(
    subject: &'static str,
    signs: &'static [&'static str],
    cause: &'static str,
    remedy: &'static str,
) -> Known {
    Known { subject, signs, cause, remedy }
}

/// What fits a text: the first row of each subject, the general ones only where nothing else fits.
pub fn likely(text: &str) -> Vec<&'static Known> {
    let mut found: Vec<&Known> = Vec::new();
    for row in KNOWN.iter().filter(|row| row.signs.iter().all(|sign| text.contains(sign))) {
        let told = match row.subject {
            GENERAL => !found.is_empty(),
            subject => found.iter().any(|f| f.subject == subject),
        };
        if !told && found.len() < MOST {
            found.push(row);
        }
    }
    found
}

#[cfg(test)]
mod tests;
