//! What is not to be lost: files that were edited by hand, and a server that works.

use super::steps::Steps;
use crate::choice::Aim;
use crate::drift;
use crate::host::files::sha256;
use crate::module;
use crate::owned::Owned;
use crate::step::Step;

impl Steps<'_> {
    /// Adds a write unless the file is already as wanted. One that somebody has edited since it was written last
    /// is kept beside first; at boot, when nobody can be asked, it stays as it is.
    ///
    /// The configuration is the one file that is there to be edited: its values are taken over, so that it only
    /// shows how it changes.
    pub fn write(&mut self, file: Owned, why: &str) {
        let path = file.path(self.config);
        let wanted = file.render(self.inputs);
        let have = self.facts.files.get(&path);
        let same = |text: &String| have.is_some_and(|h| h.sha256 == sha256(text.as_bytes()));
        if wanted.as_ref().is_ok_and(same) && have.is_some_and(|h| h.mode == file.mode()) {
            return;
        }
        let differs = have.filter(|_| !wanted.as_ref().is_ok_and(same));
        let edited = file != Owned::Config
            && differs.zip(self.receipt).is_some_and(|(have, receipt)| receipt.is_edited(&path, &have.sha256));
        let shown = edited || self.worked() && matches!(file, Owned::Compose | Owned::Environment | Owned::Config);
        if let (Some(present), Ok(wanted), true) = (differs.and_then(|h| h.text.as_ref()), &wanted, shown) {
            self.diffs.push(drift::diff(&path, edited, present, wanted));
        }
        if edited {
            if self.aim == Aim::Boot {
                return;
            }
            self.add(Step::KeepEdited { path: path.clone() }, "it is not what this program has written");
        }
        self.add(Step::Write { file, path }, why);
    }

    /// Before a server that works is changed: what leads back to it. The image and the files are remembered
    /// before anything is written, the data is copied right before the container is touched, so that nothing a
    /// client was given meanwhile is lost. What an interrupted run has remembered stays what is gone back to.
    pub fn guarded(&mut self) {
        if self.aim == Aim::Boot || !self.worked() || self.facts.container.is_none() {
            return;
        }
        let pending = self.receipt.and_then(|r| r.way_back.as_ref());
        let loaded = self.facts.modules.loaded.contains(module::NAME);
        let touches = |s: &Step| match s {
            Step::Compose => true,
            Step::Load { modules } => loaded && modules.iter().any(|m| m == module::NAME),
            _ => false,
        };
        if let Some(at) = self.list.iter().position(|p| touches(&p.step))
            && !pending.is_some_and(|w| w.touched)
        {
            self.insert(at, Step::Backup, "the container is stopped only after this");
        }
        let changes = |s: &Step| {
            matches!(s, Step::Pull { .. } | Step::Kernel { .. } | Step::Module { .. } | Step::Compose) || touches(s)
        };
        if pending.is_none() && self.planned(changes) {
            self.insert(0, Step::WayBack, "image, module, files and data are gone back to as one if the proof fails");
        }
    }

    /// The container that runs is to be left alone: its files are not what this program has written, and nobody
    /// can be asked.
    pub fn hands_off(&self) -> bool {
        let files = [Owned::Compose, Owned::Environment, Owned::Start, Owned::Caddyfile];
        let container = files.map(|o| o.path(self.config));
        self.aim == Aim::Boot
            && self.facts.container.as_ref().is_some_and(|c| c.running)
            && self.diffs.iter().any(|d| d.edited && container.contains(&d.path))
    }

    /// A server was proven here, and its database is there.
    fn worked(&self) -> bool {
        self.facts.database && self.receipt.is_some_and(|r| r.ran())
    }
}
