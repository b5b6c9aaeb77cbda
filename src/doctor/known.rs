//! The secrets and names of this very host, so that they can be taken out of what leaves it.

use std::path::Path;

use crate::config::Config;
use crate::error::Kind;
use crate::host::Host;
use crate::redact::{HIDDEN, Redactor};

/// More than a server with thousands of clients writes.
const LARGEST: u64 = 4 << 20;

/// Knows every secret that this program was ever given here, as far as it can still be found, and the peers' names.
pub fn redactor(host: &Host, config: &Config) -> Redactor {
    let mut redactor = Redactor::default();
    let registry = &config.container.registry;
    for secret in [&config.server.password, &registry.password].into_iter().flatten() {
        hide(&mut redactor, secret.expose());
    }
    for file in [&config.server.password_file, &registry.password_file].into_iter().flatten() {
        let bytes = if **file == *"-" { None } else { read(host, file) };
        hide(&mut redactor, &bytes.unwrap_or_default());
    }
    let environment = host.read_text(format!("{}/wg-easy.env", config.container.directory)).unwrap_or_default();
    let created = host.engine_get(&format!("/containers/{}/json", config.container.name)).found().unwrap_or_default();
    let created = created["Config"]["Env"].as_array().cloned().unwrap_or_default();
    let assignments = environment.lines().chain(created.iter().filter_map(|e| e.as_str()));
    let given = host.env_all().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in assignments.filter_map(|line| line.split_once('=')).chain(given) {
        let name = name.to_ascii_uppercase();
        if (name.contains("PASSWORD") || name.contains("TOKEN") || name.contains("SECRET")) && !name.ends_with("_FILE")
        {
            hide(&mut redactor, value.trim_matches(['\'', '"']));
        }
        // A proxy's login is told apart from its address, so that it is found by itself as well.
        if let Some((login, _)) = value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) {
            hide(&mut redactor, login);
            login.split(':').for_each(|part| hide(&mut redactor, part));
        }
    }
    if let Some(name) = &config.server.host {
        redactor.hide(name, "SERVER");
    }
    for name in peers(host, config).unwrap_or_default() {
        redactor.hide(&name, "PEER");
    }
    redactor
}

/// Names of peers, as the server writes them beside their keys; or why they cannot be known.
pub fn peers(host: &Host, config: &Config) -> Result<Vec<String>, String> {
    let path = format!("{}/data/wg0.conf", config.container.directory);
    let text = host.read_plain(&path, LARGEST).ok_or_else(|| format!("{path} cannot be read"))?;
    Ok(parse_peers(&text))
}

/// `# Client: NAME (ID)`; a name may hold brackets itself.
fn parse_peers(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.trim().strip_prefix("# Client:")?.trim();
        Some(rest.rsplit_once(" (").map_or(rest, |(name, _)| name).to_string())
    };
    text.lines().filter_map(name).collect()
}

fn hide(redactor: &mut Redactor, secret: &str) {
    redactor.hide(secret, HIDDEN);
    // As it stands in JSON, and in YAML between single quotes.
    let quoted = serde_json::to_string(secret).unwrap_or_default();
    redactor.hide(quoted.trim_matches('"'), HIDDEN);
    redactor.hide(&secret.replace('\'', "''"), HIDDEN);
    for line in secret.lines().filter(|l| l.len() > 7) {
        redactor.hide(line, HIDDEN);
    }
}

fn read(host: &Host, file: &str) -> Option<String> {
    let bytes = host.read_named(Kind::Config, "a password", Path::new(file), 1 << 16).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_peers() {
        let text = "[Interface]\n# Client: O'Neil (1)\n[Peer]\n\n# Client: Anna (work) (2)\n# Server\n";
        assert_eq!(parse_peers(text), ["O'Neil", "Anna (work)"]);
    }
}
