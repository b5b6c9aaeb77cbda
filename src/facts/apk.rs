//! What apk has installed, wants, and can get.

use std::collections::BTreeMap;

use xshell::cmd;

use super::{Apk, Os, Reach};
use crate::bundle;
use crate::host::{Host, Limits};

pub const REPOSITORIES: &str = "/etc/apk/repositories";
pub const WORLD: &str = "/etc/apk/world";
const INSTALLED: &str = "/lib/apk/db/installed";
/// Packages whose versions decide anything here.
pub const PACKAGES: &[&str] = &[
    "docker",
    "docker-cli-compose",
    "iptables",
    "kexec-tools",
    "kmod",
    "linux-firmware-none",
    "linux-lts",
    "linux-lts-dev",
    "linux-virt",
    "linux-virt-dev",
    "mkinitfs",
];

/// Where packages come from instead of the configured repositories, as arguments of apk: the bundle that was
/// unpacked here.
pub fn instead(host: &Host) -> Vec<String> {
    let file = bundle::opened(host).map(|b| host.path(b.repositories_file()).display().to_string());
    file.into_iter().flat_map(|file| ["--repositories-file".to_string(), file]).collect()
}

pub fn probe(host: &Host, os: &Os, reach: Reach) -> Apk {
    let repositories = parse_repositories(&host.read_text(REPOSITORIES).unwrap_or_default());
    let installed = parse_installed(&host.read_text(INSTALLED).unwrap_or_default());
    let instead = instead(host);
    let (offered, problem) = offered(host, os, &repositories, &instead, reach);
    Apk {
        world: host.read_text(WORLD).unwrap_or_default().split_whitespace().map(str::to_string).collect(),
        installed: installed.into_iter().filter(|(name, _)| PACKAGES.contains(&name.as_str())).collect(),
        repositories,
        offered,
        asked: reach == Reach::Network && problem.is_none(),
        offered_problem: problem,
        bundled: !instead.is_empty(),
    }
}

/// Every package that is installed, as `name=version`.
pub fn installed(host: &Host) -> Vec<String> {
    let packages = parse_installed(&host.read_text(INSTALLED).unwrap_or_default());
    packages.into_iter().map(|(name, version)| format!("{name}={version}")).collect()
}

/// The name of a package in `name`, `name=version`, `name~version`, `name><hash`, `!name`.
pub fn package_name(constraint: &str) -> &str {
    let constraint = constraint.trim_start_matches('!');
    constraint.split(['=', '~', '<', '>', '@']).next().unwrap_or(constraint)
}

/// The `community` repository beside the enabled `main`, when it is not enabled itself.
pub fn missing_community(repositories: &[String]) -> Option<String> {
    if repositories.iter().any(|r| r.trim_end_matches('/').ends_with("/community")) {
        return None;
    }
    let main = repositories.iter().map(|r| r.trim_end_matches('/')).find(|r| r.ends_with("/main"))?;
    Some(format!("{}/community", main.strip_suffix("/main")?))
}

fn offered(
    host: &Host,
    os: &Os,
    repositories: &[String],
    instead: &[String],
    reach: Reach,
) -> (BTreeMap<String, Vec<String>>, Option<String>) {
    if reach == Reach::Files {
        return (BTreeMap::new(), None);
    }
    let sh = host.shell();
    let mut problem = None;
    let extra: &[String] = &match missing_community(repositories) {
        _ if !instead.is_empty() => instead.to_vec(),
        Some(url) => vec!["-X".into(), url],
        None => Vec::new(),
    };
    // A bundle lies on the disk: nothing has to be updated.
    if reach == Reach::Network && instead.is_empty() {
        let update = host.ask(cmd!(sh, "apk --wait 300 {extra...} update"), Limits::seconds(480));
        if !update.ok() {
            problem = Some(format!("`{}`: {}", update.shown, update.tail(3)));
        }
    }
    let names = PACKAGES;
    let found = host.ask(cmd!(sh, "apk {extra...} search --exact --all {names...}"), Limits::seconds(60));
    if reach == Reach::Network {
        if !found.ok() && problem.is_none() {
            problem = Some(format!("`{}`: {}", found.shown, found.tail(3)));
        }
        if repositories.is_empty() && instead.is_empty() {
            problem = Some(format!("{REPOSITORIES} enables no repository ({})", os.name));
        }
    }
    (parse_search(&found.stdout), problem)
}

/// Lines `name-version` of `apk search --exact --all`. The version begins at the last dash that a digit
/// follows and that is not the one before `rN`.
pub fn parse_search(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.split_whitespace().next()) {
        let Some((rest, revision)) = line.rsplit_once("-r") else { continue };
        let Some((name, version)) = rest.rsplit_once('-') else { continue };
        if revision.parse::<u32>().is_ok() && version.starts_with(|c: char| c.is_ascii_digit()) {
            let versions = found.entry(name.to_string()).or_default();
            let version = format!("{version}-r{revision}");
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }
    found
}

/// `P:` and `V:` lines of apk's installed database.
pub fn parse_installed(text: &str) -> BTreeMap<String, String> {
    let mut packages = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(n) = line.strip_prefix("P:") {
            name = n;
        } else if let Some(version) = line.strip_prefix("V:") {
            packages.insert(name.to_string(), version.to_string());
        }
    }
    packages
}

/// Enabled lines of /etc/apk/repositories, without tags.
pub fn parse_repositories(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| if l.starts_with('@') { l.split_once(' ').map_or(l, |(_, url)| url.trim()) } else { l })
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_world() {
        for (constraint, name) in [
            ("linux-lts", "linux-lts"),
            ("linux-lts=6.12.50-r0", "linux-lts"),
            ("linux-lts~6.12", "linux-lts"),
            ("linux-lts><Q1abc=", "linux-lts"),
            ("!grub", "grub"),
            ("docker@edge", "docker"),
        ] {
            assert_eq!(package_name(constraint), name);
        }
    }

    #[test]
    fn search_output() {
        // apk-tools 2.14.4, with two versions of one package on offer.
        let text = "linux-lts-6.12.50-r0\nlinux-lts-6.12.51-r0\ndocker-28.3.3-r1\nlinux-firmware-none-20250509-r0\n\
                    docker-cli-compose-2.36.2-r1\nWARNING: something\n";
        let found = parse_search(text);
        assert_eq!(found["linux-lts"], ["6.12.50-r0", "6.12.51-r0"]);
        assert_eq!(found["docker-cli-compose"], ["2.36.2-r1"]);
        assert_eq!(found["linux-firmware-none"], ["20250509-r0"]);
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn installed_database() {
        let text = "C:Q1abc=\nP:kmod\nV:34.2-r0\nA:x86_64\nF:etc\nR:x\n\nC:Q1d=\nP:linux-virt\nV:6.12.50-r0\n";
        let found = parse_installed(text);
        assert_eq!(found["kmod"], "34.2-r0");
        assert_eq!(found["linux-virt"], "6.12.50-r0");
    }

    #[test]
    fn community_beside_main() {
        let repos = parse_repositories("# x\nhttp://dl-cdn.alpinelinux.org/alpine/v3.22/main\n#http://x/community\n");
        assert_eq!(missing_community(&repos).as_deref(), Some("http://dl-cdn.alpinelinux.org/alpine/v3.22/community"));
        assert_eq!(missing_community(&["http://m/v3.22/main".into(), "http://m/v3.22/community/".into()]), None);
        assert_eq!(missing_community(&["/media/cdrom/apks".into()]), None);
        assert_eq!(parse_repositories("@edge http://m/edge/main\n"), ["http://m/edge/main"]);
    }
}
