use super::Trouble::*;
use super::*;

/// Texts with where they were seen: printed by Docker 26.1.5 against a registry that behaves so (*), or as the
/// sources of Docker 26 to 28 and of the registries put them together.
const SAID: &[(&str, Trouble)] = &[
    // * Nothing listens; no such machine; a name that does not exist.
    (r#"Get "https://registry.lab/v2/": dial tcp 10.0.2.100:443: connect: connection refused"#, Unreachable),
    (r#"Get "https://192.0.2.77:443/v2/": dial tcp 192.0.2.77:443: connect: no route to host"#, Unreachable),
    (r#"Get "https://ghcr.io/v2/": dial tcp [2001:db8::1]:443: connect: network is unreachable"#, Unreachable),
    (r#"Get "https://nosuch.invalid/v2/": dial tcp: lookup nosuch.invalid on 10.255.255.53:53: no such host"#, Name),
    (r#"Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 10.0.2.3:53: server misbehaving"#, Name),
    // * The registry has trouble of its own.
    ("received unexpected HTTP status: 503 Service Unavailable", Unreachable),
    ("received unexpected HTTP status: 502 Bad Gateway", Unreachable),
    // * It takes the connection and says nothing.
    (r#"Get "http://127.0.0.1:5105/v2/": context deadline exceeded"#, Slow),
    (
        r#"Get "https://ghcr.io/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
        Slow,
    ),
    (r#"Get "https://ghcr.io/v2/": net/http: TLS handshake timeout"#, Slow),
    (r#"Get "https://ghcr.io/v2/": dial tcp 140.82.121.33:443: i/o timeout"#, Slow),
    (
        r#"Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 1.1.1.1:53: read udp 10.0.2.15:4->1.1.1.1:53: i/o timeout"#,
        Name,
    ),
    (STALLED, Slow),
    // * It closes the connection at once, or in the middle of a layer, time and again.
    (r#"Get "http://127.0.0.1:5106/v2/": EOF"#, Broken),
    ("unexpected EOF", Broken),
    ("read tcp 10.0.2.15:40322->10.0.2.100:443: read: connection reset by peer", Broken),
    // * It wants a login; the login is wrong; the login may not.
    (r#"Head "http://127.0.0.1:5100/v2/wg-easy/manifests/amd64": no basic auth credentials"#, Access),
    ("unauthorized", Access),
    ("denied", Access),
    (r#"Head "https://ghcr.io/v2/me/private/manifests/15": denied"#, Access),
    ("error from registry: denied\ndenied", Access),
    ("unauthorized: authentication required", Access),
    ("unauthorized: incorrect username or password", Access),
    (
        "pull access denied for me/private, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        Access,
    ),
    (r#"Head "https://registry.gitlab.com/v2/me/app/manifests/15": denied: access forbidden"#, Access),
    // * What is not there.
    ("manifest unknown", Unknown),
    ("name unknown", Unknown),
    ("manifest for ghcr.io/wg-easy/wg-easy:15.99 not found: manifest unknown: manifest unknown", Unknown),
    // *
    (
        "toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit",
        RateLimit,
    ),
    // * An authority that nobody knows; http where https was asked for.
    (
        r#"Get "https://reg.test:5443/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
        Certificate,
    ),
    (
        r#"Get "https://ghcr.io/v2/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2026-01-01T00:00:00Z"#,
        Certificate,
    ),
    (r#"Get "https://reg.test:5108/v2/": http: server gave HTTP response to HTTPS client"#, PlainHttp),
    (r#"Get "https://ghcr.io/v2/": proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused"#, Proxy),
    ("write /var/lib/docker/tmp/GetImageBlob3012345: no space left on device", DiskFull),
    ("failed to register layer: write /usr/lib/node: no space left on device", DiskFull),
    // * An index without this machine; one image that is for another.
    ("no matching manifest for linux/amd64 in the manifest list entries", Architecture),
    (
        "image with reference 127.0.0.1:5108/wg-easy:arm64-single was found but does not match the specified platform: wanted linux/amd64, actual: linux/arm64",
        Architecture,
    ),
    ("no match for platform in manifest: not found", Architecture),
    // * A layer, and a manifest, that somebody has changed.
    (
        "filesystem layer verification failed for digest sha256:2b90ec78fedb69cfb988467376e5155202cfb06f00c7ac5f4a488caaefaff65b",
        Spoilt,
    ),
    (
        "manifest verification failed for digest sha256:af94c96de49c4c0626589e422811d21983022d419bc7b0701bcaa487ebac696c",
        Spoilt,
    ),
    ("mkdir /var/lib/docker/tmp: permission denied", Other),
    ("the engine broke off: connection closed", Engine),
    ("something new", Other),
];

fn attempt<'a>(image: &'a ImageRef, login: &'a super::Login) -> Attempt<'a> {
    Attempt {
        image,
        key: "container.image",
        own: true,
        platform: "amd64",
        login,
        patience: Duration::from_secs(120),
        proxy: None,
    }
}

#[test]
fn every_text_is_told_apart() {
    for (said, wanted) in SAID {
        assert_eq!(trouble(said), *wanted, "{said}");
    }
    for (trouble, signs) in KNOWN {
        for sign in *signs {
            let used = SAID.iter().any(|(said, t)| t == trouble && said.contains(sign));
            let unseen =
                ["docker.sock", "error sending request", "Proxy Authentication", "remote error", "first record"];
            let rare = ["Too Many Requests", "pull rate", "failed precondition", "unexpected commit", "Unauthorized"];
            let also =
                ["403", "failed to fetch oauth", "name resolution", "context canceled", "broken pipe", "use of closed"];
            let known = [&unseen[..], &rare[..], &also[..]].concat().iter().any(|u| sign.starts_with(u));
            assert!(used || known, "{sign}: no text has it");
        }
    }
}

#[test]
fn every_trouble_has_words_of_its_own() {
    let image: ImageRef = "ghcr.io/wg-easy/wg-easy:15".parse().unwrap();
    let login = Login::default();
    let mut seen = Vec::new();
    for (said, trouble) in SAID {
        let error = explain(&attempt(&image, &login), said);
        assert_eq!(error.exit_code(), 6);
        assert!(error.message.starts_with("pulling ghcr.io/wg-easy/wg-easy:15 failed: "), "{error}");
        assert!(error.cause.as_deref().is_some_and(|c| c.contains(said)), "the engine's own words: {error}");
        assert!(error.remedy.as_deref().is_some_and(|r| r.contains("run this again")), "{error}");
        match seen.iter().find(|(t, _)| t == trouble) {
            Some((_, message)) => assert_eq!(message, &error.message, "{said}"),
            None => {
                assert!(seen.iter().all(|(_, message)| *message != error.message), "{said}: {error}");
                seen.push((*trouble, error.message));
            }
        }
    }
    assert_eq!(seen.len(), 15, "every kind");
}

#[test]
fn words_follow_what_was_tried() {
    let image: ImageRef = "registry.lab/wg-easy/wg-easy:15".parse().unwrap();
    let digest = format!("sha256:{}", "1".repeat(64));
    let pinned = image.pinned(&digest).unwrap();
    let none = Login::default();
    assert!(explain(&attempt(&pinned, &none), "manifest unknown").message.contains(&digest));
    assert!(explain(&attempt(&image, &none), STALLED).to_string().contains("nothing new has come for 120 s"));
    let asks = explain(&attempt(&image, &none), "unauthorized").to_string();
    assert!(asks.contains("registry.lab asks for a login") && asks.contains("container.registry.password_file"));
    assert!(!asks.contains("helper"), "{asks}");
    let helper = Login { helper: true, ..Login::default() };
    assert!(explain(&attempt(&image, &helper), "unauthorized").to_string().contains("helper"));

    let proxy = |said: &str| {
        let attempt = Attempt { proxy: Some("HTTPS_PROXY".into()), ..attempt(&image, &none) };
        explain(&attempt, said).to_string()
    };
    assert!(proxy("dial tcp: connect: connection refused").contains("HTTPS_PROXY is set"));
    assert!(!proxy("manifest unknown").contains("HTTPS_PROXY"), "that is not why");
}
