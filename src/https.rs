//! The admin page over https: the proof that it works, and what to tell people about its certificate.

use std::time::{Duration, Instant};

use serde_json::Value;
use xshell::cmd;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::facts::{Container, engine};
use crate::host::tls::{Door, Page, fingerprint};
use crate::host::{Host, Limits};
use crate::owned::{own_authority, page_url};

/// An authority answers within seconds; Caddy tries a second time after a minute.
const READY: Duration = Duration::from_secs(180);
/// Reading the log costs more than asking for the page.
const LOG_EVERY: u32 = 5;
/// Restarts after which waiting longer cannot help.
const LOOP: u64 = 3;
/// Lines of the log that are shown.
const SHOWN: usize = 6;
/// Below the directory: the root of Caddy's own authority.
const OWN_ROOT: &str = "caddy/data/caddy/pki/authorities/local/root.crt";

/// Waits until the page answers through Caddy, with a certificate for this host, or says why it does not. `again`: an
/// earlier attempt has failed, and Caddy, which would pause for longer and longer, is to ask the authority at once.
pub fn prove(host: &Host, config: &Config, again: bool) -> Result<Page> {
    let name = engine::caddy_name(config);
    let began = Instant::now();
    if again {
        let sh = host.shell();
        host.ask(cmd!(sh, "docker restart {name}"), Limits::seconds(60));
    }
    let mut looks = 0;
    loop {
        looks += 1;
        host.go_on()?;
        let container = engine::container(host, &name);
        let why = match page(host, config, container.as_ref()) {
            Ok(page) => return Ok(page),
            Err(why) => why,
        };
        let looping = container.as_ref().is_some_and(|c| c.restarts >= LOOP);
        let asked = looks % LOG_EVERY == 0 && refused_twice(&log(host, &name, began));
        if looping || asked || began.elapsed() > READY || host.is_fake() {
            let why = if looping { "Caddy restarts again and again".to_string() } else { why };
            return Err(not_ready(config, &why, &log(host, &name, began)));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What was seen of the page, in words.
pub fn seen(page: &Page) -> String {
    let known = if page.trusted { "" } else { ", which this program does not know" };
    format!("page answers over https ({}), certificate by {}{known}", page.status, page.issuer)
}

/// Where the page is; for a certificate that browsers do not take, how to make them.
pub fn access(host: &Host, config: &Config) -> String {
    let url = page_url(config);
    if !own_authority(config) {
        return url;
    }
    let root = format!("{}/{OWN_ROOT}", config.container.directory);
    let print = host.read(&root).and_then(|pem| fingerprint(&pem)).unwrap_or_else(|| "not there yet".into());
    format!(
        "{url}\n            browsers warn: the certificate is by this server's own authority. To have them trust it, import\n            \
         {root} (SHA-256 fingerprint {print})"
    )
}

/// The page as it has to be, or why it is not that.
fn page(host: &Host, config: &Config, container: Option<&Container>) -> std::result::Result<Page, String> {
    let container = container.filter(|c| c.running).ok_or("Caddy does not run")?;
    let directory = &config.container.directory;
    let own = own_authority(config).then(|| host.read(format!("{directory}/{OWN_ROOT}"))).flatten();
    let acme = config.server.https.acme_root.as_ref().and_then(|path| host.read(path));
    let page = host.https_page(&Door {
        name: config.server.host.as_deref().unwrap_or_default(),
        address: &container.address,
        port: config.server.https.port,
        authorities: own.into_iter().chain(acme).collect(),
    })?;
    // What an authority of the operator's own has signed may lead to a root that only clients have.
    let public = !own_authority(config) && config.server.https.acme_directory.is_none();
    match &page {
        p if !p.named => Err(format!("the certificate, by {}, is for another name", p.issuer)),
        p if !p.trusted && public => Err(format!("the certificate is by {}, which is no public authority", p.issuer)),
        p if p.status >= 400 => Err(format!("the page behind it answers with status {}", p.status)),
        _ => Ok(page),
    }
}

/// What Caddy has said since then.
fn log(host: &Host, name: &str, since: Instant) -> String {
    let since = format!("{}s", since.elapsed().as_secs() + 2);
    let sh = host.shell();
    let said = host.ask(cmd!(sh, "docker logs --since {since} {name}"), Limits::seconds(20));
    format!("{}{}", said.stdout, said.stderr)
}

/// The authority has said no, and to a second attempt as well: one may be an accident of the start.
fn refused_twice(log: &str) -> bool {
    log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).any(|l| l["attempt"].as_u64() >= Some(2))
}

fn not_ready(config: &Config, why: &str, log: &str) -> Error {
    let why = match why {
        w if w.contains("InternalError") => "Caddy has no certificate yet",
        w => w,
    };
    let url = page_url(config);
    let tail = match complaints(log) {
        none if none.is_empty() => "Caddy has said nothing about it".to_string(),
        some => format!("last complaints of Caddy:\n{}", some.join("\n")),
    };
    let cause = KNOWN.iter().find(|(signs, _)| signs.iter().any(|s| log.contains(s)));
    let what = cause.map_or("`docker logs` of that container has the whole", |(_, remedy)| remedy);
    Error::step(format!("{url} does not work yet: {why}")).cause(tail).remedy(format!(
        "{what}. The tunnel works meanwhile, and Caddy goes on asking; then run `awg-install install` again"
    ))
}

/// The last things that Caddy was not content with, each once.
fn complaints(log: &str) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for line in log.lines().rev() {
        let text = match serde_json::from_str::<Value>(line) {
            Ok(entry) if ["error", "fatal"].iter().any(|level| entry["level"] == *level) => {
                let part = |key: &str| entry[key].as_str().map(str::to_string);
                [part("msg"), part("error")].into_iter().flatten().collect::<Vec<_>>().join(": ")
            }
            Ok(_) => continue,
            // What it says before it has read its configuration is plain text.
            Err(_) => line.to_string(),
        };
        let text: String = text.chars().take(400).collect();
        if !text.is_empty() && !said.contains(&text) {
            said.push(text);
        }
        if said.len() == SHOWN {
            break;
        }
    }
    said.reverse();
    said
}

/// Known causes, by what the log says of each, and what to do.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["acme:error:rateLimited", "too many certificates", "too many failed authorizations"],
        "the authority has given this name too many certificates or seen too many failures: wait, at least an hour",
    ),
    (&["acme:error:caa", "CAA record"], "the name's CAA record in DNS forbids this authority: add it there"),
    (
        &["acme:error:rejectedIdentifier"],
        "the authority gives no certificate for this name: set server.host to another, or server.https.acme_directory",
    ),
    (
        &["NXDOMAIN", "no valid A records", "no valid AAAA records", "acme:error:dns"],
        "the name has no address in DNS: add an A (and AAAA) record with this host's address",
    ),
    (
        &["acme:error:connection", "Timeout during connect"],
        "the authority cannot reach this host at that name: check that its DNS records lead here, and that the provider's firewall \
         lets tcp 80 and 443 through",
    ),
    (
        &["acme:error:unauthorized", "acme:error:incorrectResponse"],
        "another host answers at that name: check that its DNS records (A and AAAA) lead here",
    ),
    (
        &["x509: certificate signed by unknown authority"],
        "the ACME directory's own certificate is not known: give its root as server.https.acme_root",
    ),
    (
        &["performing ACME directory request", "provisioning client", ": dial tcp", "no such host"],
        "the certificate authority cannot be reached from here: check server.https.acme_directory, DNS and the firewall",
    ),
    (&["address already in use", "port is already allocated"], "another program has the port: stop it"),
    (
        &["permission denied", "operation not permitted"],
        "Caddy lacks a right: check who owns ./caddy in the server's directory",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_and_attempts() {
        let retry = |n| format!(r#"{{"level":"error","msg":"will retry","error":"no","attempt":{n}}}"#);
        let log = format!("{}\n{{\"level\":\"info\",\"msg\":\"x\"}}\n{}\nrun: bad\n", retry(1), retry(1));
        assert_eq!(complaints(&log), ["will retry: no", "run: bad"]);
        assert!(!refused_twice(&log));
        assert!(refused_twice(&format!("{log}{}", retry(2))));
    }
}
