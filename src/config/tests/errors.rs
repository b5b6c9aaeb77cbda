//! One clear error for each mistake: right exit code, the place, the key, and never a secret.

use super::{FULL, file, said, with};
use crate::config::{Sources, load};

/// What is wrong in a file, and what the error must say.
const FILES: &[(&str, &str)] = &[
    // structure
    ("sever:\n  port: 1\n", "config.yaml:1:1: unknown key sever; the nearest known key is server"),
    ("server:\n  hots: a\n", "config.yaml:2:3: unknown key server.hots; the nearest known key is server.host"),
    ("mode: auto\nport: 1\n", "config.yaml:2:1: unknown key port; the nearest known key is server.port"),
    ("{mode: auto, server: {prot: 1}}", "config.yaml:1:23: unknown key server.prot"),
    ("kernel: {catalog: {url: x}}", "unknown key kernel.catalog; the nearest known key is module.catalog"),
    (
        "server.port: 1",
        "config.yaml:1:1: \"server.port\": a key has no dots in the file; write port: indented below server:",
    ),
    ("mode:\n  auto: 1", "config.yaml:2:3: mode: takes one of auto, kernel, userspace, wireguard, not a mapping"),
    ("server: 51820", "config.yaml:1:9: server: takes keys of its own, not 51820"),
    ("- mode: auto", "config.yaml: is not a mapping"),
    ("just text", "config.yaml: is not a mapping"),
    ("mode: auto\nmode: kernel", "config.yaml:2:1: not a valid configuration: duplicate key \"mode\""),
    ("server: {port: 1, port: 2}", "duplicate key"),
    ("mode: [auto", "config.yaml:2:1: not a valid configuration: did not find expected ',' or"),
    ("mode: auto\n\tfallback: fail", "config.yaml:2:"),
    ("a: &x [1]\nb: *y", "unknown anchor"),
    ("mode: !secret auto", "tags"),
    ("mode: auto\n---\nmode: kernel", "more than one document"),
    ("? [1]\n: 2", "not a valid configuration"),
    ("version: 2\nnew: key", "config.yaml:1:10: version: 2 is not a format this release reads; write version: 1"),
    ("version: \"1\"", "version: \"1\" is not a format"),
    ("\u{feff}mode: auto", "byte order mark"),
    // types
    ("mode: fast", "config.yaml:1:7: mode: takes one of auto, kernel, userspace, wireguard, not \"fast\""),
    ("network: {ipv6: true}", "takes one of auto, on, off, not true; write the word in quotes"),
    ("kernel: {hold: \"yes\"}", "kernel.hold: takes true or false, not \"yes\""),
    ("server: {username: 1234}", "server.username: takes a text, not 1234; put the value in quotes"),
    ("server: {dns: 1.1.1.1}", "server.dns: takes a list of texts, not \"1.1.1.1\"; write a list in brackets"),
    ("server: {dns: [1]}", "server.dns: takes a list of texts, not a list; put each entry in quotes"),
    (
        "server: {port: \"51820\"}",
        "server.port: takes a number from 1 to 65535, not \"51820\"; write the number without quotes",
    ),
    // values
    ("server: {port: 0}", "config.yaml:1:16: server.port: takes a number from 1 to 65535, not 0"),
    ("server: {port: 65536}", "server.port: takes a number from 1 to 65535, not 65536"),
    ("server: {web_port: -1}", "server.web_port: takes a number from 1 to 65535, not -1"),
    ("server: {port: 99999999999999999999}", "server.port: takes a number"),
    ("server: {port: 1.5}", "server.port: takes a number from 1 to 65535, not 1.5"),
    ("server: {port: 51821}", "config.yaml:1: server.port: 51821 is both"),
    ("server: {web_port: 51820}", "config.yaml:1: server.web_port: 51820 is both"),
    (
        "server: {ipv4_cidr: 10.8.0.1/24, ipv6_cidr: \"fd00::/64\"}",
        "server.ipv4_cidr: \"10.8.0.1/24\" has host bits set; the range is 10.8.0.0/24",
    ),
    ("server: {ipv4_cidr: 10.8.0.0/33}", "server.ipv4_cidr: \"10.8.0.0/33\" is not a range"),
    ("server: {ipv4_cidr: 10.8.0.0/31}", "needs a prefix from /8 to /30"),
    ("server: {ipv4_cidr: 10.8.0.0}", "has no prefix; for the single address write 10.8.0.0/32"),
    ("server: {ipv4_cidr: \"fd00::/64\"}", "server.ipv4_cidr: \"fd00::/64\" is an IPv6 range"),
    ("server: {ipv6_cidr: 10.8.0.0/24}", "server.ipv6_cidr: \"10.8.0.0/24\" is an IPv4 range"),
    ("server: {ipv4_cidr: 10.8.0.0/24}", "server.ipv4_cidr: is given without server.ipv6_cidr"),
    ("server: {ipv6_cidr: \"fd00::/64\"}", "server.ipv6_cidr: is given without server.ipv4_cidr"),
    ("server: {allowed_ips: [0.0.0.0/0, 10.0.0.1]}", "server.allowed_ips: \"10.0.0.1\" has no prefix"),
    ("server: {allowed_ips: [10.0.0.0/8, 10.0.0.0/8]}", "server.allowed_ips: lists 10.0.0.0/8 twice"),
    ("server: {dns: [one.one]}", "server.dns: invalid IP address"),
    ("server: {dns: [1.1.1.1, 1.1.1.1]}", "server.dns: lists 1.1.1.1 twice"),
    ("server: {host: \"https://vpn.example.org\"}", "server.host: \"https://vpn.example.org\" has a scheme"),
    ("server: {host: \"vpn.example.org:51820\"}", "has a port; server.port is a key of its own"),
    ("server: {host: \"[fd00::1]\"}", "has brackets"),
    ("server: {host: bücher.example}", "has letters outside ASCII; write the xn--"),
    ("server: {host: 256.1.1.1}", "is neither a DNS name nor an IP address"),
    ("server: {host: -a.example}", "is neither a DNS name nor an IP address"),
    ("server: {host: \"a b\"}", "is neither a DNS name nor an IP address"),
    ("server: {host: 0.0.0.0}", "server.host: 0.0.0.0 is no address that a client could reach"),
    ("server: {host: \"\"}", "server.host: \"\" is neither"),
    ("server: {username: x}", "server.username: \"x\" is shorter than 2 characters"),
    ("server: {username: \"a:b\"}", "holds a colon"),
    ("server: {username: \"two\\nlines\"}", "server.username: \"two\\nlines\" holds the control character U+000A"),
    ("server: {username: \"\\e[31mred\"}", "holds the control character U+001B"),
    ("server: {password: hunter2}", "config.yaml:1:20: server.password: has 7 characters, at least 12 are needed"),
    ("server: {password: [hunter2hunter2]}", "server.password: takes a text, not a list"),
    ("server: {password: 123456789012345}", "server.password: takes a text, not a number; put the value in quotes"),
    ("server: {password: \"hunter2hunter2\\n\"}", "server.password: holds a control character"),
    ("server: {password: \"[redacted]\"}", "server.password: stands for a value that was left out"),
    ("server: {password: hunter2hunter2, password_file: /x}", "server.password_file: server.password is given as well"),
    ("kernel: {release: 6.12.50}", "kernel.release: \"6.12.50\" is not a release"),
    ("kernel: {release: 6.12.50-r0}", "kernel.release: \"6.12.50-r0\" is not a release of Alpine's"),
    ("kernel: {package: linux-lts.apk}", "kernel.package: \"linux-lts.apk\" is neither the word repository"),
    ("kernel: {package: \"https://a.example/k.apk\"}", "kernel.package: is a URL without kernel.package_sha256"),
    ("kernel: {package_sha256: abc}", "kernel.package_sha256: \"abc\" is not 64 hexadecimal digits"),
    ("module: {source: file}", "module.source: file needs module.path"),
    ("module: {source: url}", "module.source: url needs module.url"),
    ("module: {source: url, url: \"https://a.example/m.ko\"}", "module.source: url needs module.sha256"),
    ("module: {source_url: \"https://a.example/s.tar\"}", "module.source_url: has no module.source_sha256"),
    (
        "module: {source_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}",
        "module.source_sha256: has no module.source_url",
    ),
    (
        "module: {build: false, source_url: \"https://a.example/s.tar\", source_sha256: \
         9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}",
        "module.source_url: is given, but nothing would be compiled",
    ),
    ("module: {source: catalog}", "module.source: catalog needs module.catalog.url"),
    ("module: {source: build, build: false}", "module.build: is false, but module.source is build"),
    ("module: {path: /root/m.ko}", "module.path: is used only with module.source: file"),
    ("module: {url: \"https://a.example/m.ko\"}", "module.url: is used only with module.source: url"),
    ("module: {source: file, path: m.ko}", "module.path: \"m.ko\" is not an absolute path"),
    ("module: {source: file, path: /root/../m.ko}", "module.path: \"/root/../m.ko\" holds . or .."),
    ("module: {source: bundle}", "module.source: bundle needs bundle.path"),
    ("bundle: {path: awg.bundle}", "bundle.path: \"awg.bundle\" is not an absolute path"),
    ("bundle: {path: /awg.bundle}", "bundle.path: has nothing that vouches for it"),
    ("bundle: {sha256: abc}", "bundle.sha256: \"abc\" is not 64 hexadecimal digits"),
    (
        "bundle: {sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}",
        "bundle.sha256: vouches for a bundle, but bundle.path names none",
    ),
    (
        "bundle: {public_keys: [RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy]}",
        "bundle.public_keys: vouches for a bundle, but bundle.path names none",
    ),
    ("module: {catalog: {url: \"https://a.example/c\"}}", "module.catalog.url: has no module.catalog.public_keys"),
    (
        "module: {catalog: {url: \"ftp://a.example/c\"}}",
        "module.catalog.url: \"ftp://a.example/c\" is not an http or https URL",
    ),
    ("module: {catalog: {url: \"https://a.example:0/c\"}}", "names no valid host and port"),
    (
        "module: {catalog: {url: \"http://a.example/c\", public_keys: [RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy]}}",
        "module.catalog.url: is plain http",
    ),
    (
        "module: {catalog: {url: \"https://a.example/c?x=\", public_keys: [RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy]}}",
        "module.catalog.url: holds a query",
    ),
    ("module: {catalog: {public_keys: [RWabc]}}", "module.catalog.public_keys: is not a minisign public key"),
    (
        "module: {catalog: {public_keys: [RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy]}}",
        "module.catalog.public_keys: has no module.catalog.url",
    ),
    ("module: {catalog: {public_key: RWabc}}", "the nearest known key is module.catalog.public_keys"),
    ("module: {denied_srcversions: [\"xyz\"]}", "module.denied_srcversions: is not a srcversion"),
    (
        "container: {image: \"ghcr.io/wg-easy/wg-easy:14\"}",
        "container.image: \"ghcr.io/wg-easy/wg-easy:14\" is wg-easy 14; this release knows only version 15",
    ),
    ("container: {image: \"ghcr.io/wg-easy/wg-easy:latest\"}", "means version 14 upstream"),
    ("container: {image: \"WG easy\"}", "is not an image reference"),
    ("container: {registry: {username: \"a:b\"}}", "container.registry.username: \"a:b\" holds a colon"),
    ("container: {registry: {password: hunter2}}", "is given without container.registry.username"),
    ("container: {registry: {password_file: /x}}", "is given without container.registry.username"),
    ("container: {registry: {username: a, password: \"\"}}", "container.registry.password: is empty"),
    ("container: {registry: {username: a, password_file: x}}", "container.registry.password_file: is no absolute path"),
    (
        "container: {registry: {username: a, password: hunter2, password_file: /x}}",
        "container.registry.password_file: container.registry.password is given as well",
    ),
    (
        "server: {password_file: \"-\"}\ncontainer: {registry: {username: a, password_file: \"-\"}}",
        "is standard input, and so is server.password_file",
    ),
    ("container: {name: \"-x\"}", "container.name: \"-x\" needs 2 to 63 letters"),
    ("container: {directory: wg}", "container.directory: \"wg\" is not an absolute path"),
    ("container: {directory: /etc/}", "container.directory: /etc belongs to the system"),
    ("container: {directory: /run/wg}", "container.directory: /run/wg does not outlive a reboot"),
    (
        "container: {privilege: documented}",
        "container.privilege: documented gives whoever controls the container the whole host;",
    ),
    ("server: {web: public}\ncontainer: {privilege: documented}", "and its admin page would be open to everybody"),
    ("backup: {recipients: [age1abc]}", "backup.recipients"),
    ("backup: {keep: 0}", "backup.keep: takes a number from 1 to 1000, not 0"),
    ("fallback: wireguard", "config.yaml:1: fallback: wireguard can be recognised on the wire"),
    (
        "mode: userspace\nkernel: {release: 6.12.50-0-lts}",
        "kernel.release: names a kernel, but mode: userspace changes none",
    ),
    ("\u{202e}mode: auto", "unknown key \\u{202e}mode"),
    (
        "mode: wireguard\nkernel: {release: 6.12.50-0-lts}",
        "kernel.release: names a kernel, but mode: wireguard changes none",
    ),
    ("mode: wireguard\nmodule: {source: image}", "module.source: names an AmneziaWG module, but mode is wireguard"),
];

fn error(sources: &Sources) -> crate::error::Error {
    match load(sources) {
        Ok(loaded) => panic!("accepted: {:?}", loaded.config),
        Err(err) => err,
    }
}

#[test]
fn each_mistake_in_a_file_has_its_error() {
    let mut wrong = Vec::new();
    for (text, expected) in FILES {
        let err = error(&file(text));
        let said = said(&err);
        assert_eq!(err.exit_code(), 3, "{text}");
        assert!(said.starts_with("config.yaml") || said.contains("password_file: "), "{text}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("123456789012345"), "{said}");
        assert!(!said.contains('\n') && !said.chars().any(char::is_control), "{said}");
        if !said.contains(expected) {
            wrong.push(format!("{text:?}\n  expected {expected}\n  said     {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_mistake_elsewhere_has_its_error() {
    let full = || file(FULL);
    for (sources, expected) in [
        (
            with(full(), &[("AWG_SERVER_PORT", "0")], &[]),
            "environment AWG_SERVER_PORT: server.port: takes a number from 1 to 65535, not \"0\"",
        ),
        (
            with(full(), &[("AWG_SERVER_PASSWORD", "hunter2")], &[]),
            "environment AWG_SERVER_PASSWORD: server.password: has 7",
        ),
        (
            with(full(), &[("AWG_SERVER_PASWORD", "x")], &[]),
            "environment: unknown variable AWG_SERVER_PASWORD; the nearest known variable is AWG_SERVER_PASSWORD",
        ),
        (
            with(full(), &[("OVERRIDE_AUTO_AWG", "yes")], &[]),
            "environment OVERRIDE_AUTO_AWG: \"yes\" is neither awg nor wg",
        ),
        (
            with(full(), &[], &[("kernel.release", "6.12")]),
            "flag --kernel-release: kernel.release: \"6.12\" is not a release",
        ),
        (
            with(full(), &[], &[("kernel.hold", "maybe")]),
            "flag --kernel-hold: kernel.hold: takes true or false, not \"maybe\"",
        ),
        (with(full(), &[], &[("server.password", "hunter2hunter2")]), "flag: unknown key server.password"),
        (with(full(), &[], &[("server.web_port", "443")]), "flag --server-web-port: server.web_port: 443 is both"),
        (
            with(file("mode: userspace"), &[], &[("kernel.release", "6.12.50-0-lts")]),
            "flag --kernel-release: kernel.release: names a kernel, but mode: userspace changes none",
        ),
        (with(file(""), &[("AWG_FALLBACK", "wireguard")], &[]), "environment AWG_FALLBACK: fallback: wireguard can be"),
        // A mistake in the file stays one when something stronger hides it.
        (with(file("mode: fast"), &[], &[("mode", "auto")]), "config.yaml:1:7: mode: takes one of"),
    ] {
        let err = error(&sources);
        assert_eq!(err.exit_code(), 3);
        assert!(said(&err).contains(expected), "expected {expected}\nsaid     {err}");
        assert!(!said(&err).contains("hunter2"), "{err}");
    }
}

#[test]
fn size_depth_and_aliases_are_bounded() {
    let large = format!("# {}\nmode: auto\n", "x".repeat(1 << 20));
    assert!(said(&error(&file(&large))).contains("larger than 1 MiB"));
    let start = std::time::Instant::now();
    for deep in ["[".repeat(400_000), "{a: ".repeat(200_000), "- ".repeat(400_000), "  ? ".repeat(200_000)] {
        assert!(said(&error(&file(&deep))).contains("is nested more deeply"));
    }
    assert!(said(&error(&file(&format!("mode: {}", "[".repeat(900))))).contains("config.yaml:1:"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    assert!(said(&error(&file(&bomb))).contains("expands to more values"));
    let heavy = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 1000].join(","));
    assert!(said(&error(&file(&heavy))).contains("expands to more values"));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_new_server_needs_host_name_and_password() {
    let missing = |text: &str| said(&load(&file(text)).unwrap().config.require_server().unwrap_err());
    assert!(missing("").starts_with("server.host: missing"));
    assert!(missing("").contains("give --server-host, AWG_SERVER_HOST or server.host in the file"));
    assert!(missing("server: {host: a.example}").starts_with("server.username: missing"));
    let text = missing("server: {host: a.example, username: admin}");
    for way in ["server.password_file", "AWG_SERVER_PASSWORD", "--server-password-file -"] {
        assert!(text.contains(way), "{text}");
    }
    let given = "server: {host: a.example, username: admin, password_file: /root/pw}";
    load(&file(given)).unwrap().config.require_server().unwrap();
}
