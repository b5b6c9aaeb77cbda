//! What a good configuration gives. Bad ones are in the submodules.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

mod errors;
mod mutation;

/// The whole of a configuration, no key at its default but one of the two ports that an authority asks at.
pub(super) const FULL: &str = r#"
version: 1
mode: kernel
fallback: wireguard
accept_plain_wireguard: true
kernel:
  release: 6.12.50-0-lts
  package: https://downloads.example.org/linux-lts-6.12.50-r0.apk
  package_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  keep_old: false
  reboot: kexec
  trial_timeout: 600
  hold: false
module:
  source: url
  url: http://10.0.0.5:8080/amneziawg.ko
  sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  catalog: {url: "http://127.0.0.1:9000/catalog", public_keys: [RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy]}
  build: false
  denied_srcversions: [533BB7E5866E52F63B9ACCB]
bundle:
  path: /media/usb/awg.bundle
  sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  public_keys: [RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy]
server:
  host: vpn.example.org
  port: 443
  web_port: 8443
  username: Jane Döe
  password: "it's a \"quoted\" $(secret) # word"
  dns: [1.1.1.1, "2606:4700:4700::1111"]
  ipv4_cidr: 10.8.0.0/24
  ipv6_cidr: fdcc:ad94:bacf:61a4::/64
  allowed_ips:
    - 0.0.0.0/0
    - "::/0"
  web: https
  https:
    image: registry.example.org:5000/my/caddy:2.10
    port: 443
    http_port: 8080
    email: admin@example.org
    acme_directory: https://ca.example.org/acme/acme/directory
    acme_root: /srv/ca.pem
container:
  image: registry.example.org:5000/my/wg-easy:15.1
  registry: {username: "robot$lab", password: "short#"}
  name: wg
  memory: 700
  directory: /srv/wg
  privilege: documented
  accept_privileged: true
network:
  ipv6: "off"
  isolate: true
  reachable: [192.168.10.0/24]
  firewall: none
backup:
  keep: 9
  directory: /srv/backup
  recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
"#;

pub(super) fn file(text: &str) -> Sources {
    Sources { file: Some(("config.yaml".into(), text.into())), ..Sources::default() }
}

pub(super) fn with(mut sources: Sources, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let own = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    };
    sources.environment = own(environment);
    sources.flags = own(flags);
    sources
}

/// All parts of an error on one line, whichever way it is shown.
pub(super) fn said(err: &crate::error::Error) -> String {
    let part = |mark: &str, text: &Option<String>| text.as_ref().map_or(String::new(), |t| format!("{mark}{t}"));
    format!("{}{}{}", err.message, part(": ", &err.cause), part("; ", &err.remedy))
}

fn loaded(sources: &Sources) -> Loaded {
    load(sources).unwrap_or_else(|err| panic!("{err}"))
}

#[test]
fn nothing_given_is_the_default() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "{}", "server:\n", "server: {}\nmode:\n", "version: 1\r\n"]
    {
        let loaded = loaded(&file(text));
        assert_eq!(loaded.config, Config::default(), "{text:?}");
    }
    assert_eq!(loaded(&Sources::default()).given().count(), 0);
    assert!(Config::default().require_server().is_err());
}

#[test]
fn the_example_is_the_default_and_fits_the_schema() {
    let example = render_example();
    assert_eq!(loaded(&file(&example)).config, Config::default());
    for leaf in leaves() {
        let name = leaf.path.rsplit('.').next().unwrap();
        assert!(example.contains(&format!("{name}: ")), "{}", leaf.path);
    }
    // Commented keys are live once their mark is gone, and stay valid one by one.
    for (number, line) in example.lines().enumerate() {
        let Some((pad, key)) = line.split_once("# ").filter(|(pad, key)| {
            pad.trim().is_empty()
                && leaves().iter().any(|l| {
                    l.example.is_some() && key.starts_with(&format!("{}: ", l.path.rsplit('.').next().unwrap()))
                })
        }) else {
            continue;
        };
        let mut lines: Vec<String> = example.lines().map(str::to_string).collect();
        lines[number] = format!("{pad}{key}");
        let name = key.split(':').next().unwrap();
        lines.retain({
            let (pad, mut left) = (pad.to_string(), 1);
            let taken = format!("{pad}{key}");
            move |l| {
                l == &taken
                    || !(left == 1 && l.starts_with(&format!("{pad}{name}: ")) && {
                        left = 0;
                        true
                    })
            }
        });
        if let Err(err) = load(&file(&lines.join("\n"))) {
            // Only a rule that ties two keys together may object.
            assert!(err.remedy.is_some() && !err.message.contains("unknown"), "{err}");
        }
    }
    let value = crate::yaml::parse(&example).unwrap();
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&value));
    assert!(validator.is_valid(&crate::yaml::parse(FULL).unwrap()));
    for wrong in
        [json!({"mdoe": "auto"}), json!({"server": {"port": 0}}), json!({"mode": "fast"}), json!({"version": 2})]
    {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn every_leaf_explains_itself() {
    let mut names = std::collections::BTreeSet::new();
    for leaf in leaves() {
        assert!(leaf.description.ends_with('.') && leaf.description.len() > 15, "{leaf:?}");
        assert!(leaf.default.is_some() || leaf.example.is_some(), "{leaf:?}");
        assert!(leaf.variable().is_none_or(|name| names.insert(name)), "{leaf:?}");
        if let LeafKind::Choice(choices) = &leaf.kind {
            assert!(choices.len() > 1 && choices.iter().all(|c| !c.help.is_empty()), "{leaf:?}");
        }
        let pointer = format!("/properties/{}", leaf.path.replace('.', "/properties/"));
        let schema = schema();
        let property = schema.pointer(&pointer).unwrap();
        assert_eq!(property.get("x-flag").is_some(), leaf.flag().is_some());
        // The words that docs and code know must be the words that serde reads.
        if let (LeafKind::Choice(choices), Some(default)) = (&leaf.kind, &leaf.default) {
            assert!(choices.iter().any(|c| *default == c.word));
        }
    }
    assert_eq!(leaves().len(), 58);
    let secrets: Vec<&str> = leaves().iter().filter(|l| l.secret).map(|l| l.path.as_str()).collect();
    assert_eq!(secrets, ["server.password", "container.registry.password"]);
    assert!(secrets.iter().all(|path| super::leaf::leaf(path).unwrap().flag().is_none()));
}

#[test]
fn a_full_file_sets_every_key_but_those_that_exclude_each_other() {
    let loaded = loaded(&file(FULL));
    let unset: Vec<&str> = leaves().iter().filter(|l| !loaded.is_set(&l.path)).map(|l| l.path.as_str()).collect();
    let excluded = ["server.password_file", "server.generate_password", "container.registry.password_file"];
    assert_eq!(unset, [&["module.path", "module.source_url", "module.source_sha256"][..], &excluded].concat());
    assert_eq!(loaded.config.kernel.release.exact().unwrap().pin(), "linux-lts=6.12.50-r0");
    assert_eq!(loaded.config.server.password.as_ref().unwrap().expose(), r#"it's a "quoted" $(secret) # word"#);
    assert_eq!(*loaded.origin("kernel.reboot"), Origin::File { path: "config.yaml".into(), line: Some(11) });
    assert_eq!(*loaded.origin("module.catalog.url"), Origin::File { path: "config.yaml".into(), line: Some(18) });
    loaded.config.require_server().unwrap();
}

/// The text a flag or variable carries for a value of the file.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(as_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[test]
fn flags_and_environment_say_what_the_file_says() {
    let tree = crate::yaml::parse(FULL).unwrap();
    let from_file = loaded(&file(FULL)).config;
    let (mut flags, mut environment) = (Sources::default(), Sources::default());
    for leaf in leaves() {
        let Some(value) = tree.pointer(&format!("/{}", leaf.path.replace('.', "/"))) else { continue };
        let text = as_text(value);
        match leaf.flag() {
            Some(_) => flags.flags.insert(leaf.path.clone(), text.clone()),
            None => leaf.variable().and_then(|name| flags.environment.insert(name, text.clone())),
        };
        leaf.variable().map(|name| environment.environment.insert(name, text));
    }
    assert_eq!(loaded(&flags).config, from_file);
    assert_eq!(loaded(&environment).config, from_file);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let port = |sources: &Sources| {
        let loaded = loaded(sources);
        (loaded.config.server.port, loaded.origin("server.port").to_string())
    };
    let text = "mode: kernel\nserver:\n  port: 1001\n";
    let environment =
        [("AWG_SERVER_PORT", "1002"), ("AWG_SERVER_HOST", ""), ("AWG_LAB_MATERIAL", "x"), ("HOME", "/root")];
    assert_eq!(port(&Sources::default()), (51820, "default".into()));
    assert_eq!(port(&file(text)), (1001, "config.yaml:3".into()));
    assert_eq!(port(&with(file(text), &environment, &[])), (1002, "environment AWG_SERVER_PORT".into()));
    let flags = [("server.port", "1003")];
    assert_eq!(port(&with(file(text), &environment, &flags)), (1003, "flag --server-port".into()));
}

#[test]
fn wg_easys_own_switch_is_the_weakest_variable() {
    let modes = |text: &str, environment: &[(&str, &str)]| {
        let config = loaded(&with(file(text), environment, &[])).config;
        (config.mode, config.fallback)
    };
    let plain = "mode: wireguard\nfallback: wireguard\naccept_plain_wireguard: true\n";
    assert_eq!(modes("mode: kernel", &[("OVERRIDE_AUTO_AWG", "wg")]), (Mode::Wireguard, Fallback::Userspace));
    // What the file says for its own mode is moot then, also in what is kept for the next boot.
    let pinned = "kernel: {release: 6.12.50-0-lts}\nmodule: {source: file, path: /m.ko}";
    let overridden = loaded(&with(file(pinned), &[("OVERRIDE_AUTO_AWG", "wg")], &[]));
    assert_eq!((overridden.config.mode, overridden.is_set("module.path")), (Mode::Wireguard, false));
    for text in [render_effective(&overridden), overridden.config.effective_yaml(true)] {
        assert_eq!(loaded(&file(&text)).config, overridden.config);
    }
    assert_eq!(modes("", &[("OVERRIDE_AUTO_AWG", "wg"), ("AWG_MODE", "kernel")]), (Mode::Kernel, Fallback::Userspace));
    assert_eq!(modes(plain, &[("OVERRIDE_AUTO_AWG", "awg")]), (Mode::Auto, Fallback::Userspace));
    assert_eq!(modes("mode: kernel", &[("OVERRIDE_AUTO_AWG", "awg")]), (Mode::Kernel, Fallback::Userspace));
    assert_eq!(modes(plain, &[("OVERRIDE_AUTO_AWG", "")]), (Mode::Wireguard, Fallback::Wireguard));
}

#[test]
fn the_stronger_of_password_and_file_wins() {
    let text = "server: {password: from the file itself}";
    let from_file = |config: &Config| config.server.password_file.as_deref().map(str::to_string);
    let strong = loaded(&with(file(text), &[], &[("server.password_file", "-")]));
    assert_eq!((strong.config.server.password.is_none(), from_file(&strong.config)), (true, Some("-".into())));
    let text = "server: {password_file: /root/pw}";
    let strong = loaded(&with(file(text), &[("AWG_SERVER_PASSWORD", "123456789012")], &[]));
    assert_eq!(strong.config.server.password.as_ref().map(Secret::expose), Some("123456789012"));
    assert_eq!((from_file(&strong.config), strong.is_set("server.password_file")), (None, false));
}

#[test]
fn effective_values_load_again_without_the_password() {
    let first = loaded(&with(file(FULL), &[("AWG_BACKUP_KEEP", "7")], &[("server.dns", "9.9.9.9")]));
    let text = render_effective(&first);
    assert!(text.contains("keep: 7  # environment AWG_BACKUP_KEEP"), "{text}");
    assert!(text.contains(r#"dns: ["9.9.9.9"]  # flag --server-dns"#), "{text}");
    assert!(text.contains("# password: [redacted]  # config.yaml:30"), "{text}");
    assert!(!text.contains("quoted") && !text.contains("short#"));
    let mut expected = first.config.clone();
    expected.server.password = None;
    expected.container.registry.password = None;
    assert_eq!(loaded(&file(&text)).config, expected);
    // A file's name must not break out of its comment.
    let odd = Sources { file: Some(("a\nmode: kernel\u{1b}".into(), "mode: auto".into())), ..Sources::default() };
    assert_eq!(loaded(&file(&render_effective(&loaded(&odd)))).config, Config::default());
}

#[test]
fn a_configuration_survives_json_except_for_its_secret() {
    let first = loaded(&file(FULL)).config;
    let json = serde_json::to_string(&first).unwrap();
    assert!(json.contains(REDACTED) && !json.contains("quoted"));
    assert!(!format!("{first:?}").contains("quoted"));
    let mut expected = first;
    expected.server.password = None;
    expected.container.registry.password = None;
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), expected);
}

#[test]
fn a_password_from_a_file_loses_its_line_end_only() {
    let read = |text: &str| Secret::from_password_text(text).map(|s| s.expose().to_string());
    assert_eq!(read("correct horse\n").unwrap(), "correct horse");
    assert_eq!(read(" correct horse \r\n").unwrap(), " correct horse ");
    for text in ["", "short", "elevenchars\n", "two lines of\ntext here", "with a tab\there", "two line ends\n\n"] {
        let err = read(text).unwrap_err();
        assert_eq!(err.exit_code(), 3);
        assert!(text.is_empty() || !said(&err).contains(text.trim()), "{err}");
    }
    assert!(check_password("zwölf Zeichen").is_ok());
    // A registry's password is made by whoever runs the registry.
    let token = |text: &str| Secret::from_token_text(text).map(|s| s.expose().to_string());
    assert_eq!(token("p\n").as_deref(), Ok("p"));
    assert_eq!(token("{\n \"key\": 1\n}\r\n").as_deref(), Ok("{\n \"key\": 1\n}"));
    assert!(token("\n").unwrap_err().contains("empty"));
    assert!(token(&"x".repeat(20_000)).unwrap_err().contains("longer"));
}

#[test]
fn a_catalog_is_built_in_only_where_asked_for() {
    assert_eq!((Config::default().module.catalog.url, Config::default().module.catalog.public_keys), (None, vec![]));
    let key = "RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy";
    let other = "RWRhbm90aGVyIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy";
    let built = |url, keys| Catalog::built_in(url, keys);
    assert_eq!(built(None, None).unwrap(), built(Some(""), Some(" ")).unwrap());
    let two = format!("{key} {other}");
    let both = built(Some("https://modules.example.org/"), Some(&two)).unwrap();
    assert_eq!(both.public_keys.len(), 2);
    for (url, keys, why) in [
        (Some("https://modules.example.org/"), None, "go together"),
        (None, Some(key), "go together"),
        (Some("modules.example.org"), Some(key), "AWG_CATALOG_URL is not an http or https URL"),
        (Some("https://modules.example.org/"), Some("RWabc"), "AWG_CATALOG_KEYS: one is not a minisign public key"),
    ] {
        let error = built(url, keys).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
