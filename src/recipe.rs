//! What it takes to compile the module on the host: source, packages, room. Nothing is done here.

use crate::config::{Config, Release, Url};
use crate::facts::Facts;

/// Source and packages, in one file for this program and for `scripts/build-module`.
const PINNED: &str = include_str!("../templates/module-source");
/// MiB on the disk for compiler (some 250), headers (some 150) and source while they are there, and to spare.
pub const NEED_ROOM: u64 = 600;
/// MiB of memory below which the compiler is likely to be killed.
pub const NEED_MEMORY: u64 = 300;
/// MiB that one compiler takes at most.
const PER_JOB: u64 = 400;

/// The source of the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// In words.
    pub what: String,
    pub url: Url,
    /// Lowercase hexadecimal, of the archive as it comes or of the tar in it.
    pub sha256: String,
}

/// The source that the configuration names, else the pinned one.
pub fn source(config: &Config) -> Source {
    match (&config.module.source_url, &config.module.source_sha256) {
        (Some(url), Some(sha256)) => Source { what: url.to_string(), url: url.clone(), sha256: sha256.to_string() },
        _ => Source {
            what: format!("AmneziaWG {}", pinned("version")),
            url: pinned("url").parse().expect("a test reads it"),
            sha256: pinned("sha256").into(),
        },
    }
}

/// The headers of exactly this release, as apk takes them: `linux-lts-dev=6.12.50-r0`.
pub fn headers(release: &Release) -> String {
    format!("{}-dev={}", release.package(), release.package_version())
}

/// All packages of the throw-away root.
pub fn packages(release: &Release) -> Vec<String> {
    pinned("packages").split(' ').map(String::from).chain([headers(release)]).collect()
}

/// How many files are compiled at a time, given processors and MiB of memory that can be had.
pub fn jobs(processors: u64, available_mib: u64) -> u64 {
    processors.min(available_mib / PER_JOB).max(1)
}

/// Why a module for `release` cannot be compiled here, if that can be told beforehand.
pub fn obstacle(config: &Config, facts: &Facts, release: &str) -> Option<String> {
    if !config.module.build {
        return Some("module.build is false".into());
    }
    let Some(apk) = &facts.apk else { return Some("modules are compiled on Alpine only".into()) };
    let parsed: Release = match release.parse() {
        Ok(parsed) => parsed,
        Err(e) => return Some(format!("no headers can be had for it: it {e}")),
    };
    if let Some(why) = apk.lacks(&format!("{}-dev", parsed.package()), &parsed.package_version()) {
        return Some(why);
    }
    if let Some(free) = facts.free_mib.get("/").filter(|free| **free < NEED_ROOM) {
        return Some(format!("/ has {free} MiB free, {NEED_ROOM} MiB are needed to compile the module"));
    }
    if facts.memory_mib > 0 && facts.memory_mib < NEED_MEMORY {
        return Some(format!("{} MiB of memory are too few to compile the module", facts.memory_mib));
    }
    None
}

fn pinned(name: &str) -> &'static str {
    let value = PINNED.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Apk;

    fn facts(offered: &[&str]) -> Facts {
        let offered = offered.iter().map(|v| v.to_string()).collect();
        let apk = Apk { offered: [("linux-lts-dev".to_string(), offered)].into(), asked: true, ..Apk::default() };
        Facts { apk: Some(apk), memory_mib: 1000, free_mib: [("/".to_string(), 4000)].into(), ..Facts::default() }
    }

    fn why(config: &Config, facts: &Facts) -> String {
        obstacle(config, facts, "6.12.50-0-lts").unwrap_or_default()
    }

    #[test]
    fn the_pin_is_whole() {
        let source = source(&Config::default());
        assert!(source.url.is_https());
        assert!(source.url.contains(&format!("v{}.tar.gz", pinned("version"))), "{}", source.url);
        assert!(source.sha256.len() == 64 && source.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(source.what, format!("AmneziaWG {}", pinned("version")));
    }

    #[test]
    fn the_headers_are_of_that_very_release() {
        let names = |release: &str| packages(&release.parse().unwrap());
        assert_eq!(names("6.12.50-0-lts").last().unwrap(), "linux-lts-dev=6.12.50-r0");
        assert_eq!(names("6.12.51-2-virt").last().unwrap(), "linux-virt-dev=6.12.51-r2");
        for needed in ["busybox", "gcc", "make", "bash"] {
            assert!(names("6.12.50-0-lts").iter().any(|n| n == needed), "{needed}");
        }
    }

    #[test]
    fn memory_bounds_the_jobs() {
        assert_eq!(jobs(8, 1300), 3);
        assert_eq!(jobs(2, 16000), 2);
        assert_eq!(jobs(4, 100), 1);
        assert_eq!(jobs(0, 0), 1);
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let config = Config::default();
        assert_eq!(why(&config, &facts(&["6.12.51-r0", "6.12.50-r0"])), "");

        let mut forbidden = Config::default();
        forbidden.module.build = false;
        assert_eq!(why(&forbidden, &facts(&["6.12.50-r0"])), "module.build is false");
        assert_eq!(why(&config, &Facts::default()), "modules are compiled on Alpine only");

        let gone = why(&config, &facts(&["6.12.51-r0"]));
        assert_eq!(gone, "linux-lts-dev=6.12.50-r0 cannot be had: the repository offers 6.12.51-r0");
        let mut unasked = facts(&[]);
        unasked.apk.as_mut().unwrap().asked = false;
        assert_eq!(why(&config, &unasked), "");
        unasked.apk.as_mut().unwrap().offered_problem = Some("no answer".into());
        assert!(why(&config, &unasked).contains("offers none (no answer)"));

        let mut full = facts(&["6.12.50-r0"]);
        full.free_mib.insert("/".into(), NEED_ROOM - 1);
        assert!(why(&config, &full).contains("MiB are needed to compile"), "{}", why(&config, &full));
        let mut small = facts(&["6.12.50-r0"]);
        small.memory_mib = 128;
        assert!(why(&config, &small).starts_with("128 MiB of memory"));
        let foreign = obstacle(&config, &facts(&["6.12.50-r0"]), "6.1.0-40-amd64").unwrap();
        assert!(foreign.starts_with("no headers can be had for it"), "{foreign}");
    }
}
