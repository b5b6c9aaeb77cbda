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
        "awg-install: iptables-restore refuses the rules: do the kernel's tables fit the image's iptables?",
        "the packet filter in the container cannot be set up",
    ),
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
    ("LibsqlError: SQLITE_READONLY: attempt to write a readonly database", "the container cannot write to its data"),
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
        "OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd (\"/app\") set in \
         config.json failed: no such file or directory: unknown",
        "the engine cannot run a program",
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
