//! The steps that need the kernel that was chosen: modules, settings, container, proofs.

use std::collections::BTreeSet;

use super::steps::{Steps, serviced};
use crate::module;
use crate::owned::{Owned, Rung, own_authority, page_url, revision, rights};
use crate::step::Step;

impl Steps<'_> {
    pub fn runtime(&mut self, release: Option<&str>) {
        let facts = self.facts;
        let rung = self.inputs.rung;
        let rebooting = self.planned(|s| matches!(s, Step::Reboot { .. }));
        let missing: Vec<String> = rung
            .modules(self.inputs.backend, self.inputs.ipv6)
            .into_iter()
            .filter(|m| {
                rebooting || !facts.modules.loaded.contains(*m) || *m == module::NAME && self.loaded_other(release)
            })
            .map(String::from)
            .collect();
        if !missing.is_empty() {
            self.add(Step::Load { modules: missing }, "the container cannot load modules itself");
        }
        let differing: Vec<(String, String)> = self
            .inputs
            .sysctl
            .iter()
            .filter(|(name, value)| rebooting || facts.sysctl.get(name).is_none_or(|v| v != value))
            .cloned()
            .collect();
        if !differing.is_empty() {
            self.add(Step::Sysctl { values: differing }, "the server forwards its clients' packets");
        }
        let path = Owned::Firewall.path(self.config);
        let rewritten = self.planned(|s| matches!(s, Step::Write { file: Owned::Firewall, .. }));
        if rewritten || rebooting || facts.network.rules.as_deref() != Some("") {
            self.add(Step::Firewall { script: path }, "before the container starts, and at every boot");
        }
        if let Some(release) = release
            && (rebooting || !self.proven(release))
        {
            self.add(Step::Prove { release: release.into() }, "a module that loads may still not work with this image");
        }
        if self.hands_off() {
            return;
        }
        let wanted = revision(self.inputs).ok();
        let altered = self.altered();
        let current = altered.is_none()
            && facts.container.as_ref().is_some_and(|c| {
                c.running
                    && !(facts.database && c.first_start)
                    && Some(&c.revision) == wanted.as_ref()
                    && c.interface.as_deref() == Some(rung.interface())
            });
        let rewritten = self.planned(|s| {
            let files = [Owned::Compose, Owned::Start, Owned::Environment, Owned::FirstEnvironment, Owned::Caddyfile];
            matches!(s, Step::Write { file, .. } if files.contains(file))
        });
        let page = facts
            .https
            .as_ref()
            .is_none_or(|h| h.container.as_ref().is_some_and(|c| c.running && Some(&c.revision) == wanted.as_ref()));
        let rewritten = rewritten || !current || !page;
        if !facts.database {
            // The password goes as soon as it is proven that the server has taken it over, and what is proven to be
            // ready is the container that stays: a proof of one that is made anew afterwards would say nothing
            // about its successor, and one that fails would leave the password on the disk.
            self.add(Step::Compose, "made from the compose file");
            self.add(Step::FirstStart, "it keeps its first settings in its database from then on");
            let path = Owned::Environment.path(self.config);
            self.add(Step::Write { file: Owned::Environment, path }, "the password leaves the disk");
            let path = Owned::Config.path(self.config);
            self.add(Step::Write { file: Owned::Config, path }, "likewise");
            self.add(Step::Compose, "the engine keeps the old environment until the container is made anew");
        } else if rewritten {
            self.add(Step::Compose, altered.unwrap_or_else(|| "made from the compose file".into()));
        }
        let unhealthy = facts.container.as_ref().is_some_and(|c| c.health == "unhealthy");
        if rewritten || !facts.database || self.cut_off("ready") || unhealthy {
            self.add(ready(rung), "nothing is called done that was not seen to work");
        }
    }

    /// Last of all: without a certificate yet, the tunnel works and everything else is done.
    pub fn page(&mut self) {
        let proven = self.receipt.is_some_and(|r| r.done_after("https", "ready"));
        let touched = self.planned(|s| matches!(s, Step::Compose | Step::Ready { .. }));
        if self.facts.https.is_some() && (touched || !proven) {
            let why = match own_authority(self.config) {
                true => "its certificate comes from an authority that Caddy makes here",
                false => "its certificate comes once the authority has asked at that name",
            };
            self.add(Step::Https { url: page_url(self.config) }, why);
        }
    }

    /// What the container has that its file does not give it: somebody has made it anew or altered it.
    fn altered(&self) -> Option<String> {
        let container = self.facts.container.as_ref()?;
        let (privileged, capabilities) = rights(self.inputs).ok()?;
        let image = self.facts.engine.image.as_ref().map(|i| i.id.as_str()).unwrap_or_default();
        let list = |c: &BTreeSet<String>| c.iter().cloned().collect::<Vec<_>>().join(", ");
        if container.image.is_empty() {
            return None;
        }
        if container.privileged != privileged {
            return Some(format!("it runs with privileged: {}, not {privileged}", container.privileged));
        }
        if container.capabilities != capabilities {
            let (has, wants) = (list(&container.capabilities), list(&capabilities));
            return Some(format!("it runs with the capabilities {has}, not {wants}"));
        }
        let other = !image.is_empty() && container.image != image;
        other.then(|| format!("it runs another image: {}", container.image))
    }

    /// What is loaded is another build than the one that belongs there.
    fn loaded_other(&self, release: Option<&str>) -> bool {
        let loaded = self.facts.modules.loaded_srcversion.as_ref();
        let Some((release, loaded)) = release.zip(loaded) else { return false };
        let placing = self.planned(|s| matches!(s, Step::Module { .. }));
        let candidate = self.facts.candidate_for(release).filter(|_| placing);
        let wanted = match candidate {
            Some(c) => c.inspection.srcversion.as_ref(),
            None => self.facts.modules.amneziawg.get(release).and_then(|m| m.srcversion.as_ref()),
        };
        wanted.is_some_and(|w| w != loaded)
    }

    /// This module was seen to work with this image.
    fn proven(&self, release: &str) -> bool {
        let touched = |s: &Step| matches!(s, Step::Module { .. } | Step::Load { .. });
        let pulled = self.pulls(&self.config.container.image.to_string());
        let image = self.facts.engine.image.as_ref().map(|i| i.id.as_str()).unwrap_or_default();
        let proven = self.receipt.and_then(|r| r.proven.as_ref());
        !pulled
            && !self.planned(touched)
            && !self.cut_off(&format!("prove:{release}"))
            && proven.is_some_and(|p| {
                p.release == release && p.image == image && p.srcversion == self.facts.modules.loaded_srcversion
            })
    }

    pub fn finish(&mut self, switch: bool) {
        if self.facts.os.init == "openrc" && (switch || serviced(self.facts)) {
            self.add(Step::Finish, "nothing is left to resume");
        }
    }
}

fn ready(rung: Rung) -> Step {
    Step::Ready { interface: rung.interface().into() }
}
