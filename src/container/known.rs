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
    (/etc/modules-load.d/awg-install.conf has them loaded at boot); kernels without them, such as 6.18 of Alpine \
    3.23, cannot carry this image";
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
mod tests {
    use super::*;

    /// Each row's text as it really stands in its surroundings, and how its cause begins.
    const SEEN: &[(&str, &str)] = &[
        (
            "[#] iptables -t nat -A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE\n\
             iptables v1.8.11 (legacy): can't initialize iptables table `nat': Permission denied (you must be root)\n\
             Perhaps iptables or your kernel needs to be upgraded.",
            "the container lacks the rights to change firewall rules",
        ),
        (
            "ip6tables v1.8.11 (legacy): can't initialize ip6tables table `nat': Table does not exist (do you need to insmod?)\n\
             Perhaps ip6tables or your kernel needs to be upgraded.\n[#] ip link delete dev wg0",
            "the host lacks the ip6tables-legacy tables",
        ),
        (
            "$ awg-quick up wg0\nError: Command failed: awg-quick up wg0\n[#] ip link add wg0 type amneziawg\n\
             Error: Unknown device type.\n\
             iptables v1.8.10 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)\n\
             Cannot find device \"wg0\"",
            "the host lacks the iptables-legacy tables",
        ),
        (
            "Warning: Extension MASQUERADE revision 0 not supported, missing kernel module?\n\
             iptables: No chain/target/match by that name.",
            "the host's kernel lacks an extension",
        ),
        (
            "Error response from daemon: failed to set up container networking: driver failed programming external \
             connectivity on endpoint wg-easy: Unable to enable DNAT rule:  (iptables failed: iptables --wait -t nat -A DOCKER \
             -p udp -d 0/0 --dport 51820 -j DNAT: iptables: No chain/target/match by that name.\n (exit status 1))",
            "the engine's own firewall chains are gone",
        ),
        ("iptables: No chain/target/match by that name.", "the host's kernel lacks a target or match"),
        (
            "Error response from daemon: error gathering device information while adding custom device \
             \"/dev/net/tun\": no such file or directory",
            "the host has no /dev/net/tun",
        ),
        (
            "Error: Unknown device type.\n[!] Missing WireGuard (Amnezia VPN) kernel module. Falling back to slow userspace \
             implementation.\n[#] amneziawg-go wg0\nERROR: (wg0) 2026/01/01 12:00:00 Failed to create TUN device: \
             CreateTUN(\"wg0\") failed; /dev/net/tun does not exist\n[#] ip link delete dev wg0\nCannot find device \"wg0\"",
            "there is no /dev/net/tun in the container",
        ),
        (
            "ERROR: (wg0) 2026/01/01 12:00:00 Failed to create TUN device: operation not permitted",
            "the container may not use /dev/net/tun",
        ),
        (
            "ERROR: (wg0) 2026/01/01 12:00:00 Failed to create TUN device: no such device",
            "/dev/net/tun is there, and the kernel has no tun driver",
        ),
        (
            "[#] awg setconf wg0 /dev/fd/63\nUnable to modify interface: Invalid argument\n[#] ip link delete dev wg0",
            "the image's `awg` cannot configure the kernel module",
        ),
        (
            "[#] ip link add wg0 type amneziawg\nRTNETLINK answers: Operation not permitted\nCannot find device \"wg0\"",
            "the container may not make network interfaces",
        ),
        (
            "Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create \
             failed: runc create failed: unable to start container process: error during container init: open \
             /proc/sys/net/ipv6/conf/all/disable_ipv6: no such file or directory: unknown",
            "IPv6 is switched off on this host",
        ),
        (
            "runc create failed: unable to start container process: error during container init: open sysctl \
             net.ipv6.conf.all.forwarding file: openat2 sys/net/ipv6: no such file or directory: unknown",
            "IPv6 is switched off on this host",
        ),
        (
            "[#] ip -6 address add fdcc:ad94:bacf:61a4::cafe:1/112 dev wg0\nError: ipv6: IPv6 is disabled on this device.",
            "IPv6 is switched off in the container",
        ),
        (
            "[#] ip -6 address add fdcc:ad94:bacf:61a4::cafe:1/112 dev wg0\nRTNETLINK answers: Permission denied",
            "IPv6 is switched off in the container",
        ),
        (
            "error during container init: open /proc/sys/net/ipv4/ip_forward: read-only file system: unknown",
            "the engine may not set kernel parameters: it runs in a container itself",
        ),
        (
            "error during container init: open /proc/sys/net/ipv4/conf/all/src_valid_mark: permission denied: unknown",
            "the engine may not set kernel parameters: it runs in a container itself, or",
        ),
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint wg-easy (3f): Bind for \
             0.0.0.0:51820 failed: port is already allocated",
            "another container has the port",
        ),
        (
            "Error: listen EADDRINUSE: address already in use 0.0.0.0:51821\n    at Server.setupListenHandle [as _listen2] \
             (node:net:1940:16)",
            "another program in the container",
        ),
        (
            "Error response from daemon: failed to set up container networking: driver failed programming external \
             connectivity on endpoint wg-easy (7a): failed to bind host port for 0.0.0.0:51820:10.42.42.42:51820/udp: address already in use",
            "another program on the host has the port",
        ),
        (
            "Error response from daemon: invalid pool request: Pool overlaps with other one on this address space",
            "another network of the engine",
        ),
        (
            "Error response from daemon: failed to set up container networking: Address already in use",
            "another container has the address",
        ),
        (
            "Error response from daemon: failed to set up container networking: network \
             5f2c1c9f7d0f6b8a3fd90d7cf0c3d2ab not found",
            "the container's network was removed",
        ),
        (
            "Error response from daemon: failed to create endpoint wg-easy on network wg-easy_wg: failed to add the host \
             (veth0a1b2c3) <=> sandbox (veth4d5e6f7) pair interfaces: operation not supported",
            "the kernel that runs cannot load its modules",
        ),
        (
            "Error response from daemon: cgroups: cgroup mountpoint does not exist: unknown",
            "the control groups are not mounted",
        ),
        (
            "OCI runtime create failed: unable to start container process: no cgroup mount found in mountinfo: unknown",
            "the control groups are not mounted",
        ),
        ("exec /usr/bin/dumb-init: exec format error", "the image was made for another architecture"),
        (
            "OCI runtime create failed: runc create failed: unable to start container process: exec: \"/usr/bin/dumb-init\": \
             executable file not found in $PATH: unknown",
            "the image lacks the program",
        ),
        (
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "the server has run out of memory",
        ),
        ("Error: ENOSPC: no space left on device, write", "the disk is full"),
        ("LibsqlError: SQLITE_FULL: database or disk is full", "the disk is full"),
        (
            "Failed to connect to Database: LibsqlError: SQLITE_CORRUPT: database disk image is malformed",
            "the server's database is damaged",
        ),
        ("LibsqlError: SQLITE_NOTADB: file is not a database", "the server's database is damaged"),
        (
            "LibsqlError: SQLITE_READONLY: attempt to write a readonly database",
            "the container cannot write to its data",
        ),
        (
            "Failed to connect to Database: LibsqlError: SQLITE_CANTOPEN: unable to open database file",
            "the container cannot write to its data",
        ),
        ("Error: EACCES: permission denied, open '/etc/wireguard/wg0.conf'", "the container cannot write to its data"),
        ("Error: Missing environment variable: PORT\n    at assertEnv", "the container's environment is incomplete"),
        (
            "Error:\nYou are using an invalid Configuration for wg-easy\nPlease follow the instructions on ...",
            "PASSWORD or PASSWORD_HASH",
        ),
        ("{\"message\":\"Password must be at least 12 Character\"}", "the password is too short"),
        ("Failed to connect to Database: Error: User already exists", "the database of an earlier start is there"),
        (
            "ERROR: The Compose file is invalid because: Unsupported config option for services.wg-easy: 'name'",
            "compose is too old",
        ),
        (
            "validating /opt/wg-easy/compose.yaml: services.wg-easy Additional property attach is not allowed",
            "compose is too old",
        ),
        (
            "Error response from daemon: Conflict. The container name \"/wg-easy\" is already in use by container \"8c1f\". \
             You have to remove (or rename) that container to be able to reuse that name.",
            "another container has the name",
        ),
        (
            "[#] ip link add wg0 type amneziawg\nError: Unknown device type.\n[#] ip link delete dev wg0",
            "the interface could not be made: the kernel module is not loaded",
        ),
        ("Unable to access interface: Protocol not supported", "the interface is not there"),
        (
            "Error: WireGuard exited with the error: Cannot find device \"wg0\"\nThis usually means that your host's kernel \
             does not support WireGuard!",
            "the interface could not be made",
        ),
        ("Failed to connect to Database: Error: whatever", "the server cannot use its database"),
    ];

    #[test]
    fn each_row_in_its_surroundings() {
        assert_eq!(SEEN.len(), KNOWN.len(), "a text for each row");
        for ((text, begins), row) in SEEN.iter().zip(KNOWN) {
            let found = likely(text);
            assert!(std::ptr::eq(found[0], row), "{text}\nis taken for: {found:#?}");
            assert!(found[0].cause.starts_with(begins), "{}", found[0].cause);
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
        }
    }

    #[test]
    fn several_signs_at_once() {
        let text = "iptables v1.8.10 (legacy): can't initialize iptables table `nat': Table does not exist\n\
            Error: ENOSPC: no space left on device, write\nCannot find device \"wg0\"";
        let causes: Vec<&str> = likely(text).iter().map(|k| k.cause).collect();
        assert_eq!(causes, ["the host lacks the iptables-legacy tables", "the disk is full"]);
        assert!(likely("Listening on http://0.0.0.0:51821\n$ awg-quick up wg0").is_empty());
    }
}
