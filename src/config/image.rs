//! Image references, and which wg-easy versions this release knows.

use std::fmt;
use std::str::FromStr;

use super::value::{MAX_TEXT, text};

/// The major version of wg-easy whose environment and database this release knows.
pub const KNOWN_MAJOR: u32 = 15;
/// Upstream's repositories, whose `latest` is an older major version.
const UPSTREAM: [&str; 3] = ["ghcr.io/wg-easy/wg-easy", "docker.io/weejewel/wg-easy", "weejewel/wg-easy"];

/// The registry that a reference without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// `[registry[:port]/]path[:tag][@sha256:digest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageRef {
    /// Upstream's image, in the version this release knows.
    pub(super) fn standard() -> Self {
        Self { repository: UPSTREAM[0].into(), tag: Some(KNOWN_MAJOR.to_string()), digest: None }
    }

    /// What the Caddy project publishes.
    pub(super) fn caddy() -> Self {
        Self { repository: "docker.io/library/caddy".into(), tag: Some("2".into()), digest: None }
    }

    /// Registry and path, without tag and digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The registry it comes from, as a login names it.
    pub fn registry(&self) -> &str {
        match self.repository.split_once('/') {
            Some(("index.docker.io", _)) => DOCKER_HUB,
            Some((first, _)) if is_registry(first) => first,
            _ => DOCKER_HUB,
        }
    }

    /// Registry and path as the engine writes them: what is Docker Hub's goes without its name.
    pub fn familiar(&self) -> &str {
        familiar(&self.repository)
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `sha256:…`, when the reference names the content itself.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same image by the digest found at the pull (`sha256:` and 64 digits).
    pub fn pinned(&self, digest: &str) -> Result<Self, String> {
        digest_rule(digest)?;
        Ok(Self { digest: Some(digest.to_string()), ..self.clone() })
    }
}

/// Two references (with a tag, a digest or neither) into the same repository.
pub fn same_repository(one: &str, other: &str) -> bool {
    fn repository(text: &str) -> &str {
        let name = text.split_once('@').map_or(text, |(name, _)| name);
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        familiar(name[slash..].find(':').map_or(name, |colon| &name[..slash + colon]))
    }
    repository(one) == repository(other)
}

/// The major version that a version of wg-easy such as `15.1.0` says, where it is another one than this release
/// knows. What begins with no number (`edge`) says nothing.
pub fn unknown_major(version: &str) -> Option<String> {
    let number = digits(version);
    (!number.is_empty() && number.parse() != Ok(KNOWN_MAJOR)).then(|| number.to_string())
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; before it, a registry's port.
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[slash..].split_once(':') {
            Some((last, tag)) => (&name[..slash + last.len()], Some(tag)),
            None => (name, None),
        };
        repository_rule(repository)?;
        tag.map_or(Ok(()), tag_rule)?;
        digest.map_or(Ok(()), digest_rule)?;
        let image = Self {
            repository: repository.to_string(),
            tag: tag.map(str::to_string),
            digest: digest.map(str::to_string),
        };
        version_rule(&image)?;
        Ok(image)
    }
}

text!(ImageRef, "ImageRef");

fn repository_rule(text: &str) -> Result<(), String> {
    let mut parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 1 && is_registry(parts[0]) {
        let (host, port) = parts[0].split_once(':').unwrap_or((parts[0], "1"));
        let host_good = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
            && !host.starts_with(['-', '.']);
        if !host_good || !port.parse::<u16>().is_ok_and(|p| p > 0) {
            return Err("names no valid registry".into());
        }
        parts.remove(0);
    }
    let component = |p: &&str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && edge(p.chars().next())
            && edge(p.chars().last())
            && !p.contains("..")
    };
    if parts.iter().all(component) && text.len() <= 255 {
        Ok(())
    } else {
        Err("is not an image reference such as ghcr.io/wg-easy/wg-easy:15 (small letters, no scheme)".into())
    }
}

/// Whether the first part of a reference is a registry's name.
fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn familiar(repository: &str) -> &str {
    let path = ["docker.io/", "index.docker.io/"].iter().find_map(|hub| repository.strip_prefix(hub));
    let path = path.unwrap_or(repository);
    path.strip_prefix("library/").filter(|name| !name.contains('/')).unwrap_or(path)
}

/// The number that a version begins with.
fn digits(version: &str) -> &str {
    let number = version.trim_start_matches('v');
    &number[..number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len())]
}

fn tag_rule(tag: &str) -> Result<(), String> {
    let good = (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good { Ok(()) } else { Err("has no valid tag after the colon".into()) }
}

fn digest_rule(digest: &str) -> Result<(), String> {
    let good = digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    if good { Ok(()) } else { Err("has no valid digest after the @ (sha256: and 64 digits)".into()) }
}

/// Another major version has another database and other variables: starting it would look
/// like success and lose the configuration.
fn version_rule(image: &ImageRef) -> Result<(), String> {
    let last = image.repository.rsplit('/').next().unwrap_or_default();
    if !last.ends_with("wg-easy") {
        return Ok(());
    }
    let tag = image.tag.as_deref();
    let upstream = UPSTREAM.contains(&image.repository.as_str());
    if upstream && image.digest.is_none() && matches!(tag, None | Some("latest")) {
        return Err(format!("means version 14 upstream; write the tag :{KNOWN_MAJOR}"));
    }
    let digits = digits(tag.unwrap_or_default());
    match digits.parse::<u32>() {
        Ok(major) if major != KNOWN_MAJOR => {
            Err(format!("is wg-easy {major}; this release knows only version {KNOWN_MAJOR}"))
        }
        Err(_) if !digits.is_empty() => Err("has no known version of wg-easy as tag".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_back_as_written() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let pinned = format!("ghcr.io/wg-easy/wg-easy:15@{digest}");
        for text in [
            "wg-easy",
            "ghcr.io/wg-easy/wg-easy:15",
            "localhost:5000/wg-easy:15.1.0",
            "registry.example:443/a/b_c/d:x",
            "wg-easy:v15",
            "my/wg-easy:edge",
            "127.0.0.1:5000/other:3",
            "alpine:14",
            &pinned,
        ] {
            assert_eq!(text.parse::<ImageRef>().map(|i| i.to_string()), Ok(text.to_string()));
        }
        let image: ImageRef = pinned.parse().unwrap();
        assert_eq!((image.repository(), image.tag()), ("ghcr.io/wg-easy/wg-easy", Some("15")));
        assert_eq!(image.digest(), Some(digest.as_str()));
        let plain: ImageRef = "ghcr.io/wg-easy/wg-easy:15".parse().unwrap();
        assert_eq!(plain.pinned(&digest).unwrap().to_string(), pinned);
    }

    #[test]
    fn registries_and_the_names_that_the_engine_gives() {
        for (reference, registry, familiar) in [
            ("wg-easy:15", "docker.io", "wg-easy"),
            ("docker.io/library/wg-easy:15", "docker.io", "wg-easy"),
            ("docker.io/weejewel/wg-easy:15", "docker.io", "weejewel/wg-easy"),
            ("index.docker.io/me/app:1", "docker.io", "me/app"),
            ("library/a/b:1", "docker.io", "library/a/b"),
            ("ghcr.io/wg-easy/wg-easy:15", "ghcr.io", "ghcr.io/wg-easy/wg-easy"),
            ("localhost/app", "localhost", "localhost/app"),
            ("registry.example:443/a/b:x", "registry.example:443", "registry.example:443/a/b"),
        ] {
            let image: ImageRef = reference.parse().unwrap();
            assert_eq!((image.registry(), image.familiar()), (registry, familiar), "{reference}");
        }
        let digest = format!("wg-easy@sha256:{}", "0".repeat(64));
        assert!(same_repository(&digest, "docker.io/library/wg-easy:15"));
        assert!(same_repository("reg.example:5000/a:1", "reg.example:5000/a"));
        assert!(!same_repository(&digest, "ghcr.io/wg-easy/wg-easy:15"));
        assert!(!same_repository("reg.example:5000/a", "reg.example:6000/a"));
    }

    #[test]
    fn versions_that_an_image_says_it_has() {
        for known in ["15", "15.1.0", "v15.0.0-beta.1", "edge", "", "nightly-14"] {
            assert_eq!(unknown_major(known), None, "{known}");
        }
        for (version, major) in [("14", "14"), ("v16.0.1", "16"), ("99999999999999", "99999999999999")] {
            assert_eq!(unknown_major(version).as_deref(), Some(major));
        }
    }

    #[test]
    fn unknown_versions_and_malformed_references_are_refused() {
        for (text, part) in [
            ("ghcr.io/wg-easy/wg-easy:14", "wg-easy 14"),
            ("ghcr.io/wg-easy/wg-easy:16.0.1", "wg-easy 16"),
            ("fork/my-wg-easy:v14", "wg-easy 14"),
            ("wg-easy:99999999999999", "no known version"),
            ("ghcr.io/wg-easy/wg-easy", "version 14"),
            ("ghcr.io/wg-easy/wg-easy:latest", "version 14"),
            ("", "not an image"),
            ("Wg-Easy:15", "not an image"),
            ("https://ghcr.io/wg-easy/wg-easy:15", "registry"),
            ("a//b", "not an image"),
            ("../b", "registry"),
            ("a b", "not an image"),
            ("reg.example:0/a", "registry"),
            ("wg-easy:", "tag"),
            ("wg-easy@sha256:12", "digest"),
            ("wg-easy:15@", "digest"),
        ] {
            let why = text.parse::<ImageRef>().unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
