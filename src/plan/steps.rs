//! The steps up to the restart: program, engine, kernel, module, files, boot loader.

use super::Planned;
use crate::choice::{self, Aim, Choice};
use crate::config::Config;
use crate::config::{Firewall, ModuleSource, Reboot, Release};
use crate::drift::Diff;
use crate::error::{Error, Kind, Result};
use crate::facts::{Facts, apk, kernel::EXTRA};
use crate::owned::{Inputs, Owned, SERVICE, WATCHDOG};
use crate::receipt::Receipt;
use crate::step::{FIREWALL_SERVICE, GUARD_SERVICE, RESUME, SYSTEMD_TARGET, Step, TRIAL, WATCHDOG_SERVICE};

/// The package that starts one kernel from another.
const KEXEC: &str = "kexec-tools";

pub(super) struct Steps<'a> {
    pub config: &'a Config,
    pub facts: &'a Facts,
    pub receipt: Option<&'a Receipt>,
    pub inputs: &'a Inputs<'a>,
    pub aim: Aim,
    pub list: Vec<Planned>,
    pub diffs: Vec<Diff>,
}

impl Steps<'_> {
    pub fn all(&mut self, choice: &Choice) -> Result<()> {
        let (facts, receipt, aim) = (self.facts, self.receipt, self.aim);
        self.own_files();
        self.engine();
        if choice.open.is_some() {
            self.look_into_image();
            self.guarded();
            return Ok(());
        }
        let release = choice.release.as_deref();
        let switch = release.is_some_and(|r| r != facts.kernel.running);
        if let Some(release) = release {
            if choice.build {
                // Before anything else is changed: it is what is most likely to fail.
                self.add(
                    Step::Build { release: release.into() },
                    "nothing ready fits; the compiler goes again when it has done its work",
                );
            }
            self.kernel(release)?;
            self.module(release, choice.build);
        }
        self.leftovers(release);
        self.look_into_image();
        self.host_files(release.is_some());
        if let Some(release) = release.filter(|_| switch) {
            self.reboot(release, receipt.is_some_and(|r| r.kexec_failed))?;
        }
        // At boot the kernel stays what it is.
        if let Some(release) = release.filter(|_| aim != Aim::Boot) {
            self.default(release, switch);
            self.hold(release);
        }
        self.runtime(release);
        if let Some(release) = release {
            let old = receipt.map(|r| r.origin.as_str()).filter(|o| !o.is_empty()).unwrap_or(&facts.kernel.running);
            self.remove_old(release, old);
        }
        self.finish(switch);
        self.page();
        self.guarded();
        Ok(())
    }

    pub fn add(&mut self, step: Step, why: impl Into<String>) {
        self.list.push(Planned { step, why: why.into(), beside: false });
    }

    pub fn insert(&mut self, at: usize, step: Step, why: impl Into<String>) {
        self.list.insert(at, Planned { step, why: why.into(), beside: false });
    }

    pub fn planned(&self, wanted: impl Fn(&Step) -> bool) -> bool {
        self.list.iter().any(|p| wanted(&p.step))
    }

    /// This image is fetched.
    pub fn pulls(&self, wanted: &str) -> bool {
        self.planned(|s| matches!(s, Step::Pull { image } if image == wanted))
    }

    /// A step was begun and cut off: what a tool says is there may be there by name only.
    pub fn cut_off(&self, id: &str) -> bool {
        self.receipt.is_some_and(|r| r.is_started(id))
    }

    fn own_files(&mut self) {
        // Before the configuration: one that has a password without this file beside it was given that password.
        if self.config.server.generate_password && !self.facts.database {
            self.write(Owned::FirstPassword, "nobody else knows it: `awg-install password` shows it, once");
        }
        self.write(Owned::Config, "a later run, and the one after a reboot, must know what was asked for");
        if !self.facts.program_installed {
            self.add(Step::InstallSelf, "the resume service, status and rollback need it");
        }
    }

    fn engine(&mut self) {
        let facts = self.facts;
        if let Some(apk) = &facts.apk {
            let mut missing: Vec<String> = ["docker", "docker-cli-compose"]
                .into_iter()
                .filter(|p| !apk.installed.contains_key(*p))
                .filter(|p| !facts.engine.answers || *p == "docker-cli-compose" && facts.engine.compose.is_empty())
                .map(String::from)
                .collect();
            if self.cut_off("packages:docker,docker-cli-compose") {
                missing = vec!["docker".into(), "docker-cli-compose".into()];
            }
            if !missing.is_empty() {
                if let Some(url) = apk::missing_community(&apk.repositories).filter(|_| !apk.bundled) {
                    self.add(Step::Repository { url }, "docker is in Alpine's community repository");
                }
                self.add(
                    Step::Packages { add: missing, what: "the container engine".into() },
                    "no container engine is installed",
                );
            }
        }
        if facts.os.init == "openrc" {
            let docker = facts.services.get("docker").cloned().unwrap_or_default();
            if docker.runlevels.is_empty() {
                self.add(enable("docker", "default"), "the container must come back after a reboot");
            }
            if !facts.engine.answers {
                self.add(Step::Start { service: "docker".into() }, "the engine does not answer yet");
            }
        }
        let image = self.config.container.image.to_string();
        if facts.engine.image.is_none() || self.cut_off(&format!("pull:{image}")) {
            self.add(
                Step::Pull { image },
                "fetched before anything is restarted, so that a registry that is down is found in time",
            );
        }
        if let Some(https) = &facts.https {
            let image = self.config.server.https.image.to_string();
            if https.image.is_none() || self.cut_off(&format!("pull:{image}")) {
                self.add(Step::Pull { image }, "what the admin page is served by");
            }
        }
    }

    /// After the kernel, which needs nothing of the image: what decides between kernels is looked at before (see `all`).
    fn look_into_image(&mut self) {
        let known = self.facts.engine.image.as_ref().is_some_and(|i| i.programs.is_some());
        let image = self.config.container.image.to_string();
        if !known || self.cut_off(&format!("extract:{image}")) || self.pulls(&image) {
            self.add(Step::Extract { image }, "which programs it has, and whether it brings a module along");
        }
    }

    fn kernel(&mut self, release: &str) -> Result<()> {
        let facts = self.facts;
        let here = facts.kernel.installed.iter().any(|k| k.release == release && k.vmlinuz && k.modules)
            && !self.cut_off(&format!("kernel:{release}"));
        if release != facts.kernel.running && !here {
            let parsed = parse(release)?;
            let mut add = vec![parsed.pin()];
            let installed = facts.apk.iter().flat_map(|a| a.installed.keys()).any(|p| p.starts_with("linux-firmware"));
            if !installed {
                add.push("linux-firmware-none".into());
            }
            self.add(
                Step::Kernel {
                    release: release.into(),
                    flavour: parsed.flavour().to_string(),
                    add,
                    files: choice::package_files(self.config, facts, release),
                },
                "the kernel that the module was built for; the old one stays as the way back",
            );
        }
        Ok(())
    }

    fn module(&mut self, release: &str, build: bool) {
        let facts = self.facts;
        if facts.os.id != "alpine" {
            return;
        }
        let in_place = format!("/lib/modules/{release}/{EXTRA}, in place before the reboot");
        if build {
            // Which one is known when it is there.
            self.add(Step::Module { release: release.into(), sha256: String::new() }, in_place);
            return;
        }
        let installed = facts.modules.amneziawg.get(release);
        let fits = installed.filter(|m| m.vermagic_release == release);
        // What works is not replaced by what another source happens to have, unless it was named.
        let named = self.config.module.source != ModuleSource::Auto;
        let candidate = facts.candidate_for(release).filter(|_| named || fits.is_none());
        let wanted = candidate.map(|c| c.inspection.uncompressed_sha256.as_str());
        let ready = fits.is_some_and(|m| m.indexed && wanted.is_none_or(|w| w == m.sha256))
            && !self.cut_off(&format!("module:{release}"));
        if !ready {
            let sha256 = wanted.map(String::from).or(installed.map(|m| m.sha256.clone())).unwrap_or_default();
            self.add(Step::Module { release: release.into(), sha256 }, in_place);
        }
    }

    /// Directories that only a module of ours keeps alive: an initramfs could be made for them.
    fn leftovers(&mut self, chosen: Option<&str>) {
        let kernel = &self.facts.kernel;
        for release in self.facts.modules.amneziawg.keys() {
            let here = *release == kernel.running || kernel.installed.iter().any(|k| k.release == *release);
            let ours = self.receipt.is_some_and(|r| r.placed_module(release));
            if !here && ours && Some(release.as_str()) != chosen {
                self.add(
                    Step::Clean { release: release.clone() },
                    "its kernel is gone; an initramfs could be made for it by mistake",
                );
            }
        }
    }

    /// apk keeps the kernel that the module is for, or lets it go, as it was asked for.
    fn hold(&mut self, release: &str) {
        let (Some(apk), Ok(parsed)) = (&self.facts.apk, release.parse::<Release>()) else { return };
        let world = apk.world.iter().find(|w| apk::package_name(w) == parsed.package());
        let pinned = match world {
            _ if self.planned(|s| matches!(s, Step::Kernel { .. })) => true,
            Some(w) => *w == parsed.pin(),
            None => return,
        };
        match (self.config.kernel.hold, pinned) {
            (true, false) => {
                self.add(Step::Hold { constraint: parsed.pin() }, "an upgrade would part the kernel from its module")
            }
            (false, true) => {
                self.add(Step::Hold { constraint: parsed.package() }, "kernel.hold is false");
            }
            _ => {}
        }
    }

    fn host_files(&mut self, module: bool) {
        if module && self.facts.apk.is_some() {
            self.write(Owned::Hook, "says when an upgrade has left the module behind");
        }
        if self.facts.os.init == "openrc" {
            self.write(Owned::Guard, "picks what works at every boot, and ends restart loops");
            if self.facts.services.get(GUARD_SERVICE).is_none_or(|s| s.runlevels.is_empty()) {
                self.add(enable(GUARD_SERVICE, "default"), "started last, in the background");
            }
        }
        self.write(Owned::ModulesLoad, "loaded at every boot from now on");
        if self.facts.services.get("modules").is_some_and(|m| m.installed && m.runlevels.is_empty()) {
            self.add(enable("modules", "boot"), "it loads what modules-load.d lists");
        }
        self.write(Owned::Sysctl, "set at every boot from now on");
        if self.facts.services.get("sysctl").is_some_and(|s| s.installed && s.runlevels.is_empty()) {
            self.add(enable("sysctl", "boot"), "it sets what sysctl.d lists");
        }
        if self.facts.https.is_some() {
            self.write(Owned::Caddyfile, "what Caddy serves");
        }
        self.firewall();
        self.write(Owned::Start, "the packet filter in the container, before the image's own program");
        self.write(Owned::Compose, "from the template for this mode");
        let first = if self.facts.database { Owned::Environment } else { Owned::FirstEnvironment };
        self.write(first, "only root can read it");
    }

    /// The rules on the host, and what places them at boot. Where neither init system is known, nothing does.
    fn firewall(&mut self) {
        let why = match (self.config.network.firewall, self.config.network.isolate) {
            (Firewall::Auto, true) => "accepts what is published, and keeps peers away from this host",
            (Firewall::Auto, false) => "accepts what is published, whatever other rules say",
            (Firewall::None, true) => "keeps peers away from this host",
            (Firewall::None, false) => "takes away what was there",
        };
        self.write(Owned::Firewall, why);
        let (file, runlevel) = match self.facts.os.init.as_str() {
            "openrc" => (Owned::FirewallService, "default"),
            "systemd" => (Owned::FirewallUnit, SYSTEMD_TARGET),
            _ => return,
        };
        self.write(file, "before docker starts");
        if self.facts.services.get(FIREWALL_SERVICE).is_none_or(|s| s.runlevels.is_empty()) {
            self.add(enable(FIREWALL_SERVICE, runlevel), "rules do not outlive a restart by themselves");
        }
    }

    fn reboot(&mut self, release: &str, kexec_failed: bool) -> Result<()> {
        let flavour = parse(release)?.flavour().to_string();
        self.write(Owned::ResumeService, "goes on by itself after the reboot");
        if self.facts.services.get(RESUME).is_none_or(|s| s.runlevels.is_empty()) {
            self.add(enable(RESUME, "default"), "started once the network and sshd are");
        }
        self.write(Owned::Watchdog, "a kernel that comes up and then hangs is restarted by a watchdog");
        if self.facts.services.get(WATCHDOG_SERVICE).is_none_or(|s| s.runlevels.is_empty()) {
            self.add(enable(WATCHDOG_SERVICE, "sysinit"), "started before anything else can hang");
        }
        self.write(Owned::Notice, "a line for root at the next login, until `awg-install status` was run");
        let kexec = self.config.kernel.reboot == Reboot::Kexec && !kexec_failed;
        if kexec {
            let there = self.facts.apk.as_ref().is_some_and(|a| a.installed.contains_key(KEXEC));
            if !there {
                let add = vec![KEXEC.to_string()];
                self.add(Step::Packages { add, what: "kexec".into() }, "the new kernel is started by this one");
            }
        } else {
            self.add(
                Step::Arm { flavour, release: release.into() },
                "one boot only: whatever goes wrong, the next restart is back on the old kernel",
            );
        }
        let why = if kexec {
            "the loader still starts the old kernel: any other restart is the way back"
        } else {
            "a kernel is switched by starting it"
        };
        self.add(Step::Reboot { release: release.into(), kexec }, why);
        Ok(())
    }

    /// `keep_old: false`: the kernel that ran when the installation was begun goes, last of all.
    fn remove_old(&mut self, release: &str, old: &str) {
        let here = self.facts.kernel.installed.iter().any(|k| k.release == old);
        if self.config.kernel.keep_old || old == release || !here {
            return;
        }
        if let Ok(parsed) = old.parse::<Release>() {
            self.add(
                Step::RemoveOld { package: parsed.package(), release: old.into() },
                "kernel.keep_old is false, and the new kernel is proven by now; undoing needs the package again",
            );
        }
    }

    fn default(&mut self, release: &str, switch: bool) {
        let facts = self.facts;
        if facts.boot.unsupported.is_some() || facts.os.id != "alpine" {
            return;
        }
        let Ok(parsed) = release.parse::<Release>() else { return };
        let flavour = parsed.flavour().to_string();
        let trial = facts.boot.entries.iter().any(|e| e.label == TRIAL) || facts.boot.trial_pending;
        if switch || trial || facts.boot.default != flavour || facts.boot.configured_default != flavour {
            self.add(
                Step::Default { flavour, release: release.into() },
                "only now that it runs: the loader's default is changed once and read back",
            );
        }
    }
}

/// A service of ours that is there for a reboot only.
pub(super) fn serviced(facts: &Facts) -> bool {
    [SERVICE, WATCHDOG].iter().any(|path| facts.files.contains_key(*path))
}

fn enable(service: &str, runlevel: &str) -> Step {
    Step::Enable { service: service.into(), runlevel: runlevel.into() }
}

fn parse(release: &str) -> Result<Release> {
    release
        .parse()
        .map_err(|e| Error::new(Kind::Config, format!("{release}: not a release of Alpine's kernels")).cause(e))
}
