//! Alpine's kernel release strings and the packages they stand for.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kernel flavours this program switches between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    Lts,
    Virt,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Lts => "lts",
            Flavour::Virt => "virt",
        })
    }
}

/// The release that the user's document was written for; preferred while it can be had.
pub const PREFERRED: &str = "6.12.50-0-lts";

/// A release such as `6.12.50-0-lts`: package version, package build, flavour.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Release {
    version: Vec<u32>,
    build: u32,
    flavour: Flavour,
}

impl Release {
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The package that installs it: `linux-lts`.
    pub fn package(&self) -> String {
        format!("linux-{}", self.flavour)
    }

    /// The version of that package: `6.12.50-r0`.
    pub fn package_version(&self) -> String {
        format!("{}-r{}", self.version(), self.build)
    }

    /// Both as apk's world file spells them: `linux-lts=6.12.50-r0`.
    pub fn pin(&self) -> String {
        format!("{}={}", self.package(), self.package_version())
    }

    /// The upstream version: `6.12.50`.
    pub fn version(&self) -> String {
        let parts: Vec<String> = self.version.iter().map(u32::to_string).collect();
        parts.join(".")
    }

    /// The release that a package version means for a flavour.
    pub fn from_package(flavour: Flavour, package_version: &str) -> Result<Self, String> {
        let (version, build) = package_version
            .rsplit_once("-r")
            .ok_or_else(|| format!("{package_version:?} is not a package version such as 6.12.50-r0"))?;
        format!("{version}-{build}-{flavour}").parse()
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| "is not a release of Alpine's lts or virt kernel, such as 6.12.50-0-lts".to_string())
    }
}

fn parse(text: &str) -> Option<Release> {
    let mut parts = text.split('-');
    let (version, build, flavour) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let version: Vec<u32> = version.split('.').map(number).collect::<Option<_>>()?;
    if !(2..=4).contains(&version.len()) {
        return None;
    }
    let flavour = match flavour {
        "lts" => Flavour::Lts,
        "virt" => Flavour::Virt,
        _ => return None,
    };
    Some(Release { version, build: number(build)?, flavour })
}

/// Decimal digits without sign or leading zero, so that printing gives the same text back.
fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.version(), self.build, self.flavour)
    }
}

/// Newer is greater; at equal versions the flavour decides, so that the order is total.
impl Ord for Release {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |r: &Self| (r.version.clone(), r.build, r.flavour);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Release {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `kernel.release`: the program's choice or one exact release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReleaseChoice {
    #[default]
    Auto,
    Exact(Release),
}

impl ReleaseChoice {
    pub fn exact(&self) -> Option<&Release> {
        match self {
            ReleaseChoice::Auto => None,
            ReleaseChoice::Exact(release) => Some(release),
        }
    }
}

impl FromStr for ReleaseChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(ReleaseChoice::Auto),
            exact => exact.parse().map(ReleaseChoice::Exact).map_err(|why: String| format!("{why}, nor the word auto")),
        }
    }
}

impl fmt::Display for ReleaseChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseChoice::Auto => f.write_str("auto"),
            ReleaseChoice::Exact(release) => release.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_names_its_package() {
        let release: Release = "6.12.50-0-lts".parse().unwrap();
        assert_eq!(release.pin(), "linux-lts=6.12.50-r0");
        assert_eq!(release.to_string(), "6.12.50-0-lts");
        assert_eq!(release.version(), "6.12.50");
        assert_eq!(release.flavour(), Flavour::Lts);
        let virt: Release = "6.12.50-1-virt".parse().unwrap();
        assert_eq!(virt.pin(), "linux-virt=6.12.50-r1");
        assert_eq!(Release::from_package(Flavour::Virt, "6.12.50-r1").unwrap(), virt);
        assert!(Release::from_package(Flavour::Lts, "6.12.50").is_err());
    }

    #[test]
    fn other_strings_are_refused() {
        for text in [
            "",
            "6.12.50",
            "6.12.50-lts",
            "6.12.50-r0-lts",
            "6.12.50-0-rpi",
            "6.12.50-0-lts-x",
            "6-0-lts",
            "6.1.0-18-amd64",
            "6.12.-0-lts",
            "06.12.50-0-lts",
            "+6.12.50-0-lts",
            "6.12.50-0-LTS",
            "6.12.99999999999-0-lts",
            " 6.12.50-0-lts",
            "6.12.50.1.2-0-lts",
        ] {
            assert!(text.parse::<Release>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn newer_is_greater_by_number() {
        let list = ["6.9.1-0-lts", "6.12.5-0-lts", "6.12.50-0-lts", "6.12.50-0-virt", "6.12.50-1-lts", "6.18.0-0-lts"];
        let parsed: Vec<Release> = list.iter().map(|r| r.parse().unwrap()).collect();
        assert!(parsed.windows(2).all(|w| w[0] < w[1]));
    }
}
