//! User-data: what a host's first-boot tool runs to install by itself.

use super::{SELF, fill};
use crate::error::Result;

/// Where the configuration is put that user-data brings along. No path of ours: what an operator has handed over
/// stays as it was.
pub const FILE: &str = "/root/awg-install.yaml";
/// How often the program is fetched before that is given up: a first boot may be quicker than its network.
const TRIES: u32 = 12;

/// Where the program comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    /// It was put into the image.
    Present,
    Fetched {
        url: String,
        /// In hexadecimal.
        sha256: String,
    },
}

/// For cloud-init: `#cloud-config` with the configuration, a script, and a call of it.
///
/// `config` is a configuration file's text without secrets.
pub fn cloud_init(program: &Program, config: &str) -> Result<String> {
    let script = script(program, None)?;
    fill("cloud-init.yaml", minijinja::context! { version => VERSION, file => FILE, config, script })
}

/// For tiny-cloud, and whatever else runs a script: the same in one.
pub fn tiny_cloud(program: &Program, config: &str) -> Result<String> {
    script(program, Some(config))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn script(program: &Program, config: Option<&str>) -> Result<String> {
    let (url, sha256) = match program {
        Program::Present => (None, None),
        Program::Fetched { url, sha256 } => (Some(url), Some(sha256)),
    };
    let context = minijinja::context! {
        version => VERSION, url, sha256, program => SELF, tries => TRIES, file => FILE, config
    };
    fill("first-boot.sh", context)
}
