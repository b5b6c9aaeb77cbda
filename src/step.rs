//! The closed set of things this program can do to a host. Data only: `apply` acts, `undo` undoes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::PackageFile;
use crate::facts::apk::package_name;
use crate::owned::Owned;

/// One change. Its `id` is stable across runs, so that a second attempt finds the first one's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Step {
    /// Write one of the files this program owns.
    Write { file: Owned, path: String },
    /// Keep a copy of a file that was edited by hand, beside it.
    KeepEdited { path: String },
    /// Remember what runs: image, files and later the data, so that it can be gone back to as one set.
    WayBack,
    /// A consistent copy of the server's data.
    Backup,
    /// Copy this program to `/usr/local/sbin`, for the resume service and later use.
    InstallSelf,
    /// Add a line to `/etc/apk/repositories`.
    Repository { url: String },
    /// `apk add`, with the results checked.
    Packages { add: Vec<String>, what: String },
    /// Add the kernel package and verify what it left: release file, vmlinuz, modules, initramfs, boot entry.
    /// `files` are package files that no repository has.
    Kernel {
        release: String,
        flavour: String,
        add: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<PackageFile>,
    },
    /// Have apk keep what is installed (`name=version`), or let it go on (`name`).
    Hold { constraint: String },
    /// Compile the module for a release in a throw-away root.
    Build { release: String },
    /// Remove what is left of a kernel that is gone: our module keeps its directory alive.
    Clean { release: String },
    /// Put the module in place for a release and index it with kmod's depmod.
    Module { release: String, sha256: String },
    /// Start a service in a runlevel from now on.
    Enable { service: String, runlevel: String },
    /// Start a service now and wait until it answers.
    Start { service: String },
    /// Fetch the container image.
    Pull { image: String },
    /// Look for a module in the image, which is not run for that.
    Extract { image: String },
    /// A boot entry of its own for the new kernel, started once; the default stays.
    Arm { flavour: String, release: String },
    /// Restart the host. Nothing after this step happens in the same run. With `kexec` the running kernel
    /// starts the new one itself, and the loader, which is not armed then, knows only the old one.
    Reboot {
        release: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        kexec: bool,
    },
    /// Make the running kernel what the loader starts by default; take the trial entry away.
    Default { flavour: String, release: String },
    /// Remove the kernel that ran before, now that the new one is proven.
    RemoveOld { package: String, release: String },
    /// Load kernel modules.
    Load { modules: Vec<String> },
    /// Prove that module and image are of one generation, and that packets come through: two throw-away
    /// interfaces in two network namespaces.
    Prove { release: String },
    /// Set sysctl values that differ.
    Sysctl { values: Vec<(String, String)> },
    /// Put the rules of our script in place in the host's packet filter.
    Firewall { script: String },
    /// Create or recreate the container from the compose file.
    Compose,
    /// Wait until the server has started once: it has taken its first-start settings over.
    FirstStart,
    /// Prove that the container is what was asked for.
    Ready { interface: String },
    /// Prove that the admin page answers over https with a certificate for this host.
    Https { url: String },
    /// Take the resume service and the trial boot's watchdog away.
    Finish,
}

/// The label of the trial entry.
pub const TRIAL: &str = crate::facts::boot::TRIAL_LABEL;
/// The resume service.
pub const RESUME: &str = "awg-install";
/// The watchdog of a trial boot.
pub const WATCHDOG_SERVICE: &str = "awg-watchdog";
/// Looks after the container at every boot.
pub const GUARD_SERVICE: &str = "awg-guard";

/// Places the packet filter's rules.
pub const FIREWALL_SERVICE: &str = "awg-firewall";
/// Where systemd starts services of ours; names of OpenRC's runlevels have no dot.
pub const SYSTEMD_TARGET: &str = "multi-user.target";

impl Step {
    /// It would mend something, rather than keep what is there from being lost.
    pub fn is_drift(&self) -> bool {
        !matches!(self, Step::WayBack | Step::Backup | Step::KeepEdited { .. })
    }

    /// It needs no image, and an engine that is busy fetching one does not disturb it.
    pub fn goes_beside_a_pull(&self) -> bool {
        match self {
            Step::Pull { .. } | Step::Build { .. } | Step::Kernel { .. } | Step::Module { .. } | Step::Clean { .. } => {
                true
            }
            Step::Repository { .. } | Step::Packages { .. } | Step::Hold { .. } => true,
            // It has the image's digest in it.
            Step::Write { file, .. } => *file != Owned::Compose,
            _ => false,
        }
    }

    /// Work enough for a pull to go on meanwhile.
    pub fn takes_long(&self) -> bool {
        matches!(self, Step::Build { .. } | Step::Kernel { .. } | Step::Packages { .. })
    }

    pub fn id(&self) -> String {
        match self {
            Step::Write { path, .. } => format!("write:{path}"),
            Step::KeepEdited { path } => format!("keep-edited:{path}"),
            Step::WayBack => "way-back".into(),
            Step::Backup => "backup".into(),
            Step::InstallSelf => "install-self".into(),
            Step::Repository { url } => format!("repository:{url}"),
            Step::Packages { add, .. } => format!("packages:{}", add.join(",")),
            Step::Kernel { release, .. } => format!("kernel:{release}"),
            Step::Module { release, .. } => format!("module:{release}"),
            Step::Hold { constraint } => format!("hold:{}", package_name(constraint)),
            Step::Build { release } => format!("build:{release}"),
            Step::Clean { release } => format!("clean:{release}"),
            Step::Extract { image } => format!("extract:{image}"),
            Step::Prove { release } => format!("prove:{release}"),
            Step::Enable { service, runlevel } => format!("enable:{service}:{runlevel}"),
            Step::Start { service } => format!("start:{service}"),
            Step::Pull { image } => format!("pull:{image}"),
            Step::Arm { release, .. } => format!("arm:{release}"),
            Step::Reboot { release, .. } => format!("reboot:{release}"),
            Step::RemoveOld { release, .. } => format!("remove-old:{release}"),
            Step::Default { release, .. } => format!("default:{release}"),
            Step::Load { modules } => format!("load:{}", modules.join(",")),
            Step::Sysctl { .. } => "sysctl".into(),
            Step::Firewall { .. } => "firewall".into(),
            Step::Compose => "compose".into(),
            Step::FirstStart => "first-start".into(),
            Step::Ready { .. } => "ready".into(),
            Step::Https { .. } => "https".into(),
            Step::Finish => "finish".into(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write { path, file } => write!(f, "write {path} ({})", file.purpose()),
            Step::KeepEdited { path } => write!(f, "keep a copy of {path}, which was edited by hand, beside it"),
            Step::WayBack => write!(f, "remember the image and the files that are in use, as the way back"),
            Step::Backup => write!(f, "back up the server's data"),
            Step::InstallSelf => write!(f, "copy this program to {}", crate::owned::SELF),
            Step::Repository { url } => write!(f, "enable the package repository {url}"),
            Step::Packages { add, what } => write!(f, "install {what}: {}", add.join(" ")),
            Step::Kernel { release, add, .. } => write!(f, "install kernel {release}: {}", add.join(" ")),
            Step::Module { release, sha256 } if sha256.is_empty() => {
                write!(f, "put the amneziawg.ko that was compiled in place for {release} and index it")
            }
            Step::Module { release, sha256 } => {
                write!(
                    f,
                    "put amneziawg.ko ({}...) in place for {release} and index it",
                    &sha256[..12.min(sha256.len())]
                )
            }
            Step::Hold { constraint } if constraint.contains('=') => {
                write!(f, "hold {constraint}: `apk upgrade` leaves it alone")
            }
            Step::Hold { constraint } => write!(f, "let `apk upgrade` change {constraint}"),
            Step::Build { release } => write!(f, "compile amneziawg.ko for {release} in a throw-away root"),
            Step::Clean { release } => write!(f, "remove what is left of {release}, whose kernel is gone"),
            Step::Extract { image } => write!(f, "look for a module in {image}"),
            Step::Prove { release } => {
                write!(f, "prove the module on {release}: two interfaces, a handshake and a ping between them")
            }
            Step::Enable { service, runlevel } => write!(f, "start service {service} at boot (runlevel {runlevel})"),
            Step::Start { service } => write!(f, "start service {service}"),
            Step::Pull { image } => write!(f, "pull image {image}"),
            Step::Arm { release, .. } => write!(f, "arm {release} for one boot; the default stays as it is"),
            Step::Reboot { release, kexec } => {
                let how = if *kexec { " by kexec, without the firmware" } else { "" };
                write!(f, "reboot into {release}{how}; the rest follows by itself")
            }
            Step::RemoveOld { package, release } => write!(f, "remove the old kernel {release} ({package})"),
            Step::Default { release, .. } => write!(f, "make {release} the default at boot"),
            Step::Load { modules } => write!(f, "load {}", modules.join(" ")),
            Step::Sysctl { values } => {
                let shown: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "set {}", shown.join(" "))
            }
            Step::Firewall { script } => write!(f, "put the rules of {script} in place"),
            Step::Compose => write!(f, "create the container"),
            Step::FirstStart => write!(f, "wait for the server's first start"),
            Step::Ready { interface } => {
                write!(f, "prove it: healthy, wg0 of kind {interface}, UDP port bound, web page answers")
            }
            Step::Https { url } => write!(f, "prove that {url} answers, with a certificate for it"),
            Step::Finish => write!(f, "remove the resume service and the watchdog"),
        }
    }
}
