//! What is rendered, held against what went in: the shapes of the container as committed files, and values that
//! are hostile to quoting, read back by readers of their own.

mod support;

use std::collections::BTreeMap;

use awg_install::config::{Config, Privilege, Secret, Sources, Web, load};
use awg_install::owned::{Backend, Inputs, Owned, Rung, SUBNETS};
use awg_install::yaml;
use serde_json::{Value, json};
use support::golden::assert_golden;

const RUNGS: [Rung; 3] = [Rung::Kernel, Rung::Userspace, Rung::Wireguard];
const DIGEST: &str = "ghcr.io/wg-easy/wg-easy@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Whoever reviews a change of the template sees what becomes of it.
#[test]
fn shapes() {
    for rung in RUNGS {
        let mode = rung.as_str();
        let least = Config::default();
        assert_golden(&format!("tests/compose/{mode}-least.yaml"), &compose(&inputs(&least, rung, true)));
        let documented = documented();
        assert_golden(&format!("tests/compose/{mode}-documented.yaml"), &compose(&inputs(&documented, rung, true)));
    }
    let config = Config::default();
    assert_golden("tests/compose/kernel-least-no-ipv6.yaml", &compose(&inputs(&config, Rung::Kernel, false)));
}

/// iptables' nft variant needs no raw socket.
#[test]
fn one_right_less_with_nf_tables() {
    let config = Config::default();
    for rung in RUNGS {
        let inputs = Inputs { backend: Backend::Nft, ..inputs(&config, rung, true) };
        assert_eq!(service(&inputs)["cap_add"], json!(["NET_ADMIN"]));
    }
    let inputs = Inputs { backend: Backend::Nft, ..inputs(&config, Rung::Userspace, true) };
    assert_golden("tests/compose/userspace-least-nft.yaml", &compose(&inputs));
}

/// What each shape may do, and no more.
#[test]
fn rights() {
    for rung in RUNGS {
        let tun = if rung == Rung::Wireguard { Value::Null } else { json!(["/dev/net/tun:/dev/net/tun"]) };
        let least = service(&inputs(&Config::default(), rung, true));
        assert_eq!(least["cap_drop"], json!(["ALL"]));
        assert_eq!(least["cap_add"], json!(["NET_ADMIN", "NET_RAW"]));
        assert_eq!(least["security_opt"], json!(["no-new-privileges:true"]));
        assert_eq!((&least["privileged"], &least["devices"]), (&Value::Null, &tun));
        assert_eq!(least["ports"], json!(["51820:51820/udp"]));

        let documented = service(&inputs(&documented(), rung, true));
        assert_eq!(documented["cap_add"], json!(["NET_ADMIN", "SYS_MODULE"]));
        assert_eq!((&documented["privileged"], &documented["devices"]), (&json!(true), &tun));
        assert_eq!((&documented["cap_drop"], &documented["security_opt"]), (&Value::Null, &Value::Null));
        assert_eq!(documented["ports"], json!(["51820:51820/udp", "51821:51821/tcp"]));

        for shape in [least, documented] {
            let ours = json!(["./data:/etc/wireguard", "./start.sh:/awg-start.sh:ro"]);
            assert_eq!(shape["volumes"], ours, "nothing of the host's but the data, and what starts first");
            assert_eq!((&shape["mem_limit"], &shape["memswap_limit"]), (&json!("512m"), &json!("512m")));
            let tool = if rung == Rung::Wireguard { "wg show" } else { "awg show" };
            assert!(shape["healthcheck"]["test"][1].as_str().unwrap().starts_with(tool));
        }
    }
}

/// Nothing about IPv6 is asked of an engine whose host has none.
#[test]
fn without_ipv6() {
    let config = Config::default();
    let text = compose(&inputs(&config, Rung::Kernel, false));
    assert!(!text.to_lowercase().contains("ipv6"), "{text}");
    assert!(!text.contains("fdcc:"), "{text}");
    assert_eq!(environment(&inputs(&config, Rung::Kernel, false), Owned::Environment)["DISABLE_IPV6"], "true");
}

/// Every value that the configuration takes reaches the container as it is.
#[test]
fn values_come_out_as_they_went_in() {
    let mut random = Random(0x5eed);
    let (mut taken, mut refused) = (0, 0);
    let hostile = HOSTILE.iter().map(ToString::to_string);
    for text in hostile.chain((0..2000).map(|_| random.text())).collect::<Vec<_>>() {
        let password = format!("twelve chars{text}");
        let file = json!({"server": {"host": "vpn.example.org", "username": format!("u{text}e"), "password": password,
            "dns": ["1.1.1.1", "2606:4700:4700::1111"], "allowed_ips": ["0.0.0.0/0", "::/0"]}});
        let source = ("config".to_string(), yaml::to_string(&file));
        let Ok(loaded) = load(&Sources { file: Some(source), ..Sources::default() }) else {
            refused += 1;
            assert!(text.chars().any(|c| c == ':' || !printable(c)), "refused for no reason: {text:?}");
            continue;
        };
        taken += 1;
        for rung in RUNGS {
            let inputs = inputs(&loaded.config, rung, true);
            let got = environment(&inputs, Owned::FirstEnvironment);
            assert_eq!(got["INIT_PASSWORD"], password);
            assert_eq!(got["INIT_USERNAME"], format!("u{text}e"));
            assert_eq!((got["INIT_HOST"].as_str(), got["INIT_PORT"].as_str()), ("vpn.example.org", "51820"));
            assert_eq!(got["INIT_DNS"], "1.1.1.1,2606:4700:4700::1111");
            assert_eq!(got["INIT_ALLOWED_IPS"], "0.0.0.0/0,::/0");
            let names: Vec<&str> = got.keys().map(String::as_str).collect();
            assert_eq!(names, ENVIRONMENT, "no value made a variable of its own");
            let later = environment(&inputs, Owned::Environment);
            assert!(later.iter().all(|(name, value)| !name.starts_with("INIT_") && !value.contains("twelve")));
        }
    }
    assert!(taken > 1000 && refused > 100, "{taken} taken, {refused} refused");
}

/// No text in the compose file ends its string, begins another key, or is filled in from the environment.
#[test]
fn texts_in_the_compose_file_stand_for_themselves() {
    let mut random = Random(0xc0de);
    let config = Config::default();
    let keys = service(&inputs(&config, Rung::Kernel, true)).as_object().unwrap().len();
    let hostile = HOSTILE.iter().map(ToString::to_string);
    for text in hostile.chain((0..500).map(|_| random.text())).collect::<Vec<_>>() {
        // What no configuration takes, or no reader of YAML.
        if !text.chars().all(|c| printable(c) && c != '\u{feff}') {
            continue;
        }
        let mut inputs = inputs(&config, Rung::Kernel, true);
        inputs.image = text.clone();
        inputs.command = vec!["node".into(), text.clone()];
        let service = service(&inputs);
        let image = service["image"].as_str().expect("a text");
        assert_eq!(image.matches('$').count() % 2, 0, "{image:?}");
        assert_eq!(image.replace("$$", "$"), text);
        assert_eq!(service["command"], json!(["node", image]));
        assert_eq!(service.as_object().unwrap().len(), keys, "{service:#}");
    }
}

/// A password is only ever in the file for the first start.
#[test]
fn only_one_file_holds_the_password() {
    let mut config = documented();
    config.server.password = Some(Secret::new("Zwölf Boxkämpfer"));
    let inputs = inputs(&config, Rung::Userspace, true);
    for file in [Owned::Compose, Owned::Environment, Owned::ModulesLoad, Owned::Sysctl, Owned::ResumeService] {
        assert!(!file.render(&inputs).unwrap().contains("Boxk"), "{file:?}");
    }
    assert!(Owned::FirstEnvironment.render(&inputs).unwrap().contains("Boxk"));
    assert_eq!(Owned::FirstEnvironment.mode(), 0o600);
    assert_eq!(Owned::Environment.mode(), 0o600);
}

const ENVIRONMENT: &[&str] = &[
    "DISABLE_IPV6",
    "DISABLE_VERSION_CHECK",
    "EXPERIMENTAL_AWG",
    "INIT_ALLOWED_IPS",
    "INIT_DNS",
    "INIT_ENABLED",
    "INIT_HOST",
    "INIT_PASSWORD",
    "INIT_PORT",
    "INIT_USERNAME",
    "INSECURE",
    "OVERRIDE_AUTO_AWG",
    "PORT",
];

const HOSTILE: &[&str] = &[
    "",
    "'",
    "\"",
    "\\",
    "\\\\",
    "'\"\\$`",
    "it's $HOME",
    "${HOME}",
    "$$",
    "'${A:-b}'",
    "a\\",
    "a\\'",
    "\\\"'",
    "\\0134'",
    "\\n'",
    "\\$'",
    " #comment",
    "' #comment",
    "a b  c",
    "{{ x }}",
    "{% if %}",
    "- a: [b]",
    "*alias &anchor !tag",
    "|",
    "%TAG",
    "=x",
    "\u{e9}\u{4e2d}\u{1f980}'",
    "\u{a0}'\u{feff}",
    "$(reboot) `reboot` ;reboot &",
    "a\nINIT_EVIL=1",
    "a\tb",
    "a\u{85}b",
    "\u{202e}",
];

fn documented() -> Config {
    let mut config = Config::default();
    config.container.privilege = Privilege::Documented;
    config.container.accept_privileged = true;
    config.server.web = Web::Public;
    config
}

fn inputs(config: &Config, rung: Rung, ipv6: bool) -> Inputs<'_> {
    Inputs {
        config,
        rung,
        ipv6,
        image: DIGEST.into(),
        caddy: DIGEST.into(),
        acme_root: None,
        command: vec![
            "docker-entrypoint.sh".into(),
            "/usr/bin/dumb-init".into(),
            "node".into(),
            "server/index.mjs".into(),
        ],
        backend: Backend::Legacy,
        start_interval: true,
        network: &SUBNETS[0],
        sysctl: Vec::new(),
        effective: String::new(),
    }
}

fn compose(inputs: &Inputs) -> String {
    Owned::Compose.render(inputs).expect("a compose file")
}

fn service(inputs: &Inputs) -> Value {
    let text = compose(inputs);
    let parsed = yaml::parse(&text).unwrap_or_else(|e| panic!("{e:?}:\n{text}"));
    assert_eq!(parsed.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "services", "networks"]);
    parsed["services"]["wg-easy"].clone()
}

fn environment(inputs: &Inputs, file: Owned) -> BTreeMap<String, String> {
    let text = file.render(inputs).expect("an environment");
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let read: Vec<(String, String)> = lines.map(read_line).collect();
    let count = read.len();
    let map: BTreeMap<String, String> = read.into_iter().collect();
    assert_eq!(map.len(), count, "a name stands twice:\n{text}");
    map
}

/// One line of an env file, by the rules of compose-go's dotenv: between single quotes nothing is special but a
/// backslash before a single quote; between double quotes escapes are taken first, then variables.
fn read_line(line: &str) -> (String, String) {
    let (name, quoted) = line.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
    assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{line:?}");
    let quote = quoted.chars().next().expect("a quote");
    let inner = quoted[1..].strip_suffix(quote).unwrap_or_else(|| panic!("not closed: {line:?}"));
    assert!(!inner.contains(quote), "closed too early: {line:?}");
    let value = match quote {
        '\'' => {
            assert!(!inner.contains('\\'), "versions differ here: {line:?}");
            inner.to_string()
        }
        '"' => filled_in(&unescaped(inner)),
        _ => panic!("not quoted: {line:?}"),
    };
    (name.to_string(), value)
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let digits = rest[at + 1..].strip_prefix('0').expect("only octal escapes").get(..3).expect("three digits");
        out.push(u8::from_str_radix(digits, 8).expect("an octal number") as char);
        rest = &rest[at + 5..];
    }
    out + rest
}

fn filled_in(text: &str) -> String {
    let parts: Vec<&str> = text.split("$$").collect();
    assert!(parts.iter().all(|p| !p.contains('$')), "a variable would be filled in: {text:?}");
    parts.join("$")
}

/// What the configuration takes in a text; its own tests hold it to that.
fn printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}')
}

/// xorshift: the same texts in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Mostly what is special to one of the readers.
    fn text(&mut self) -> String {
        const SPECIAL: &[char] = &[
            '\'',
            '"',
            '\\',
            '$',
            '`',
            '#',
            '{',
            '}',
            '(',
            ')',
            '=',
            ' ',
            '%',
            '&',
            '*',
            '!',
            '|',
            '>',
            '<',
            '~',
            '?',
            '-',
            '[',
            ']',
            ',',
            ';',
            '0',
            '1',
            '7',
            'a',
            'n',
            't',
            'x',
            '\u{e9}',
            '\u{a0}',
            '\u{feff}',
            '\u{1f980}',
        ];
        let mut text: String = (0..=self.below(24)).map(|_| SPECIAL[self.below(SPECIAL.len())]).collect();
        if self.below(8) == 0 {
            text.push(['\n', ':', '\t', '\u{7f}', '\0', '\u{2028}'][self.below(6)]);
        }
        text
    }
}
