//! The receipt: what was done, what was there before, and how it ended. Written ahead and durable.
//!
//! A small record with a schema of its own, not the program's objects: a later release must be able to
//! read it and to undo what it says.

mod prior;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::facts::engine::STORES;
use crate::host::Host;
pub use prior::{Change, Was, copies};

pub const STATE_DIR: &str = "/var/lib/awg-install";
pub const PATH: &str = "/var/lib/awg-install/receipt.json";
pub const LOCK: &str = "/var/lib/awg-install/lock";
pub const COPIES: &str = "/var/lib/awg-install/copies";
/// Copies of what is gone back to when an upgrade fails.
pub const WAY_BACK: &str = "/var/lib/awg-install/way-back";
pub const SCHEMA: u32 = 1;
/// A reboot that does not happen is asked for this many times in all.
pub const MAX_REBOOTS: u32 = 3;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub schema: u32,
    pub run_id: String,
    /// Version of the program that wrote it last.
    pub version: String,
    /// RFC 3339, UTC.
    pub started: String,
    pub updated: String,
    /// The kernel that ran when the installation was begun: the way back leads there.
    #[serde(default)]
    pub origin: String,
    /// A rollback that was begun removes the server's data too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purge_data: bool,
    /// Present from before a reboot is asked for until its outcome is known.
    pub reboot: Option<Reboot>,
    /// kexec did not bring the new kernel up here: the loader starts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kexec_failed: bool,
    /// The module and image that were last seen to work together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Proven>,
    /// SHA-256 of each file as it was written last, by path; not of one that holds the password.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, String>,
    /// The file that is being written, with the SHA-256 of its new content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<(String, String)>,
    /// What the server took over at its first start, by the configuration's keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub first_start: BTreeMap<String, serde_json::Value>,
    /// Present from before a server that worked is changed until the new one is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
    /// Ids of images of earlier versions that were pulled by this installation and are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Kernels that were tried and failed, with the reason.
    pub ruled_out: Vec<RuledOut>,
    pub steps: Vec<Entry>,
    pub outcome: Outcome,
    /// What `status` returns once the outcome is final.
    pub exit_code: Option<u8>,
    /// One line that says how it ended.
    pub summary: String,
    /// `kernel`, `userspace` or `wireguard`, once it is known.
    pub mode: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    #[default]
    Running,
    RebootScheduled,
    /// `--no-reboot`: the operator restarts the host.
    RebootNeeded,
    Done,
    Failed,
    RollingBack,
    RolledBack,
}

/// The evidence that tells a reboot that happened from one that did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reboot {
    pub boot_id: String,
    pub expected_release: String,
    /// How often a reboot into it was asked for.
    pub attempt: u32,
    /// The running kernel was to start it by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kexec: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuledOut {
    pub release: String,
    pub reason: String,
    /// It did not come up, whatever its module is like.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boot: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proven {
    pub release: String,
    /// Of the module that was loaded, as the kernel names it.
    pub srcversion: Option<String>,
    /// The image's id.
    pub image: String,
}

/// What ran, and all that is needed to have it run again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WayBack {
    /// The image by its name and its id.
    pub image: String,
    pub image_id: String,
    /// The kernel that ran.
    pub release: String,
    /// Kind of wg0.
    pub interface: Option<String>,
    pub mode: String,
    pub proven: Option<Proven>,
    /// The files as they were, and what of them this program had written.
    pub files: Vec<Change>,
    pub written: BTreeMap<String, String>,
    /// The operator's backup that was taken before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The directory with the copy of the data, by its inode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<u64>,
    /// The new container may have changed the data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub touched: bool,
    /// Why it is being gone; from then on it is gone to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub state: State,
    pub at: String,
    /// What to undo, in the order it was done.
    pub prior: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Started,
    Done,
    Undone,
}

impl Receipt {
    pub fn new(host: &Host) -> Receipt {
        let now = timestamp();
        Receipt {
            schema: SCHEMA,
            run_id: format!("{:x}-{:x}", host.now(), std::process::id()),
            started: now,
            origin: host.release(),
            ..Receipt::default()
        }
    }

    /// The receipt of an earlier run. One from a newer release is an error, not an absence.
    pub fn load(host: &Host) -> Result<Option<Receipt>> {
        let Some(bytes) = host.read(PATH) else { return Ok(None) };
        let broken = |cause: String| {
            Error::new(Kind::Step, format!("{PATH}: cannot be understood"))
                .cause(cause)
                .remedy("use the release of awg-install that wrote it, or move the file away and undo by hand")
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
        match value["schema"].as_u64() {
            Some(1) => serde_json::from_value(value).map(Some).map_err(|e| broken(e.to_string())),
            other => Err(broken(format!("its schema is {}, this release knows {SCHEMA}", other.unwrap_or(0)))),
        }
    }

    pub fn save(&mut self, host: &Host) -> Result<()> {
        self.version = env!("CARGO_PKG_VERSION").into();
        self.updated = timestamp();
        let text = serde_json::to_string_pretty(self).expect("plain data");
        host.write(PATH, format!("{text}\n").as_bytes(), 0o600)
    }

    /// Records a step before it acts. An earlier attempt at the same step keeps what it found.
    pub fn begin(&mut self, id: &str, prior: Vec<Change>) {
        let at = timestamp();
        match self.steps.iter_mut().find(|e| e.id == id && e.state != State::Undone) {
            Some(entry) => {
                if entry.state == State::Done {
                    // That attempt came to its end: what is there now is what this one begins with.
                    entry.prior.retain(|c| !matches!(c, Change::Installed { .. }));
                }
                for change in prior {
                    if !entry.prior.iter().any(|c| c.same_target(&change)) {
                        entry.prior.push(change);
                    }
                }
                (entry.state, entry.at) = (State::Started, at);
            }
            None => self.steps.push(Entry { id: id.into(), state: State::Started, at, prior }),
        }
    }

    pub fn finish(&mut self, id: &str) {
        if let Some(entry) = self.steps.iter_mut().find(|e| e.id == id && e.state == State::Started) {
            entry.state = State::Done;
            entry.at = timestamp();
        }
    }

    /// A step that has failed and changed nothing is recorded as it was before it was begun.
    pub fn take_back(&mut self, id: &str, before: Option<State>) {
        if let Some(entry) = self.steps.iter_mut().find(|e| e.id == id && e.state == State::Started) {
            entry.state = before.unwrap_or(State::Undone);
        }
    }

    /// How far a step is; nothing where it was never begun, or undone.
    pub fn state(&self, id: &str) -> Option<State> {
        self.steps.iter().find(|e| e.id == id && e.state != State::Undone).map(|e| e.state)
    }

    /// The record of `id` already says what `path` was.
    pub fn remembers(&self, id: &str, path: &str) -> bool {
        self.steps
            .iter()
            .filter(|e| e.id == id && e.state != State::Undone)
            .flat_map(|e| &e.prior)
            .any(|c| matches!(c, Change::File { path: p, .. } if p == path))
    }

    /// What apk had installed before a step was begun, as `name=version`.
    pub fn installed_before(&self, id: &str) -> Option<&[String]> {
        let entry = self.steps.iter().find(|e| e.id == id && e.state != State::Undone)?;
        entry.prior.iter().find_map(|c| if let Change::Installed { packages } = c { Some(&packages[..]) } else { None })
    }

    /// The database is one that this installation has made, and its server has not come to the end of its
    /// first start: what lies there may be half of one, without the administrator in it.
    pub fn first_start_pending(&self) -> bool {
        let ours = |c: &Change| matches!(c, Change::Data { path } if path.ends_with("/data"));
        let made = self.steps.iter().any(|e| e.id == "compose" && e.state != State::Undone && e.prior.iter().any(ours));
        let finished = self.steps.iter().any(|e| e.id == "first-start" && e.state == State::Done);
        made && !finished
    }

    /// The engine's store was made by this installation, which has not made a container yet: there is nothing
    /// in it that cannot be had again.
    pub fn store_is_new(&self) -> bool {
        let ours = |path: &str| {
            let made = |c: &Change| matches!(c, Change::Data { path: p } if p == path);
            self.steps.iter().any(|e| e.state != State::Undone && e.prior.iter().any(made))
        };
        let used = self.steps.iter().any(|e| e.id == "compose" && e.state != State::Undone);
        !used && STORES.iter().all(|store| ours(store))
    }

    /// A step was done, and after another one was done last.
    pub fn done_after(&self, id: &str, other: &str) -> bool {
        let at = |id: &str| self.steps.iter().filter(|e| e.id == id && e.state == State::Done).map(|e| &e.at).max();
        at(id).is_some_and(|done| at(other).is_none_or(|before| done >= before))
    }

    /// Somebody else has changed the file since it was written last, which this is the SHA-256 of now.
    pub fn is_edited(&self, path: &str, sha256: &str) -> bool {
        let ours = self.writing.as_ref().is_some_and(|(p, wanted)| p == path && wanted == sha256);
        !ours && self.written.get(path).is_some_and(|written| written != sha256)
    }

    /// The server was seen to work, or is being changed since.
    pub fn ran(&self) -> bool {
        self.way_back.is_some() || self.steps.iter().any(|e| e.id == "ready" && e.state == State::Done)
    }

    /// The image was pulled by this installation.
    pub fn pulled(&self, image: &str) -> bool {
        let ours = |c: &Change| matches!(c, Change::Image { reference } if reference == image);
        self.steps.iter().any(|e| e.state != State::Undone && e.prior.iter().any(ours))
    }

    /// A step was begun and not finished.
    pub fn is_started(&self, id: &str) -> bool {
        self.steps.iter().any(|e| e.id == id && e.state == State::Started)
    }

    /// Copies of prior files that are recorded so far.
    pub fn copies(&self) -> usize {
        copies(self.steps.iter().flat_map(|e| &e.prior))
    }

    /// The module file for `release` was put there by an installation.
    pub fn placed_module(&self, release: &str) -> bool {
        let id = format!("module:{release}");
        self.steps.iter().any(|e| e.state != State::Undone && e.id == id)
    }

    /// Since when a kernel package is held: when it was installed for that, or held later.
    pub fn held_since(&self, package: &str, release: &str) -> Option<&str> {
        let ids = [format!("kernel:{release}"), format!("hold:{package}")];
        let steps = self.steps.iter().filter(|e| e.state == State::Done && ids.contains(&e.id));
        steps.map(|e| e.at.as_str()).max()
    }

    /// Something is under way that a later `resume` has to finish.
    pub fn pending(&self) -> bool {
        matches!(self.outcome, Outcome::Running | Outcome::RebootScheduled | Outcome::RebootNeeded)
    }
}

pub fn timestamp() -> String {
    crate::host::log::timestamp(std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_attempt_keeps_what_the_first_found() {
        let mut receipt = Receipt::default();
        let absent = Change::File { path: "/etc/x".into(), was: Was::Absent };
        receipt.begin("write:/etc/x", vec![absent.clone()]);
        receipt.begin("write:/etc/x", vec![Change::File { path: "/etc/x".into(), was: Was::Same }]);
        assert_eq!(receipt.steps.len(), 1);
        assert_eq!(receipt.steps[0].prior, [absent]);
        receipt.finish("write:/etc/x");
        assert_eq!(receipt.steps[0].state, State::Done);
    }

    #[test]
    fn what_was_installed_counts_from_the_attempt_that_was_cut_off() {
        let installed = |name: &str| vec![Change::Installed { packages: vec![format!("{name}=1")] }];
        let mut receipt = Receipt::default();
        receipt.begin("kernel", installed("a"));
        receipt.begin("kernel", installed("b"));
        assert_eq!(receipt.installed_before("kernel"), Some(&["a=1".to_string()][..]));
        receipt.finish("kernel");
        receipt.begin("kernel", installed("c"));
        assert_eq!(receipt.installed_before("kernel"), Some(&["c=1".to_string()][..]));
        assert_eq!(receipt.installed_before("packages"), None);
    }

    #[test]
    fn a_step_that_changed_nothing_is_as_it_was() {
        let mut receipt = Receipt::default();
        receipt.begin("a", vec![]);
        receipt.take_back("a", None);
        assert_eq!((receipt.state("a"), receipt.steps.len()), (None, 1));
        receipt.begin("a", vec![]);
        receipt.finish("a");
        let before = receipt.state("a");
        receipt.begin("a", vec![]);
        receipt.take_back("a", before);
        assert_eq!(receipt.state("a"), Some(State::Done), "a rollback still takes it away");
    }

    #[test]
    fn an_undone_step_begins_anew() {
        let mut receipt = Receipt::default();
        receipt.begin("a", vec![]);
        receipt.steps[0].state = State::Undone;
        receipt.begin("a", vec![Change::Loader]);
        assert_eq!(receipt.steps.len(), 2);
    }
}
