//! What can be printed.

use clap::{Args, ValueEnum};

use crate::config::Sha256;

#[derive(Debug, Clone, PartialEq, Args)]
pub struct RenderArgs {
    /// What to print
    #[arg(value_enum)]
    pub what: RenderWhat,
    /// Where user-data fetches the program (an https address with a version in it); without it the image has it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// SHA-256 of what is fetched there; without it, of this program
    #[arg(long, value_name = "HEX", requires = "url")]
    pub sha256: Option<Sha256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RenderWhat {
    /// The configuration in force, with the origin of each value
    Config,
    /// compose.yaml of the container
    Compose,
    /// The service that resumes after the reboot
    Service,
    /// User-data for cloud-init that installs at the first boot
    CloudInit,
    /// The same for tiny-cloud: a script
    TinyCloud,
    /// JSON schema of the configuration file
    Schema,
    /// A configuration file with every key explained
    Example,
}

impl RenderWhat {
    /// Made of a configuration.
    pub(super) fn is_configured(self) -> bool {
        !matches!(self, RenderWhat::Schema | RenderWhat::Example)
    }

    /// Printed for another host.
    pub fn is_user_data(self) -> bool {
        matches!(self, RenderWhat::CloudInit | RenderWhat::TinyCloud)
    }
}
