//! The plan: a pure function of configuration, facts and receipt. Printing it is the dry run.

use serde::{Deserialize, Serialize};

use crate::choice::{Choice, choose};
use crate::config::{Config, Ipv6, Reboot, Release};
use crate::error::{Error, Kind, Result};
use crate::facts::{Facts, apk, kernel::EXTRA};
use crate::host::files::sha256;
use crate::owned::{GUARD, Inputs, Owned, Rung, SELF, SERVICE, revision};
use crate::preflight;
use crate::receipt::Receipt;
use crate::step::{GUARD_SERVICE, RESUME, Step, TRIAL};

pub const SCHEMA: u32 = 1;
/// The package that starts one kernel from another.
const KEXEC: &str = "kexec-tools";

/// What would be changed, in this order, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub schema: u32,
    #[serde(flatten)]
    pub choice: Choice,
    pub steps: Vec<Planned>,
    /// What the operator should know before saying yes.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    #[serde(flatten)]
    pub step: Step,
    pub why: String,
}

impl Plan {
    /// What `status` returns when this plan has been carried out.
    pub fn exit_code(&self) -> u8 {
        if self.choice.degraded { 8 } else { 0 }
    }

    /// Whether the package mirror has a say: packages are wanted, or a better rung was passed over.
    pub fn needs_mirror(&self) -> bool {
        let packages = |s: &Step| matches!(s, Step::Repository { .. } | Step::Packages { .. } | Step::Kernel { .. });
        self.steps.iter().any(|p| packages(&p.step)) || self.choice.degraded && !self.steps.is_empty()
    }
}

/// Plans the way from what is to what is asked for. Steps whose result is already there are left out,
/// so that the plan of a finished host is empty.
pub fn plan(config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> Result<Plan> {
    let choice = choose(config, facts, receipt)?;
    preflight::check(config, facts, &choice)?;
    let inputs = inputs(config, facts, choice.rung)?;
    let mut steps = Steps { config, facts, receipt, inputs: &inputs, list: Vec::new() };
    let switch = choice.release.as_deref().is_some_and(|r| r != facts.kernel.running);
    steps.own_files();
    steps.engine();
    if let Some(release) = &choice.release {
        steps.kernel(release)?;
    }
    steps.host_files();
    if switch && let Some(release) = &choice.release {
        steps.reboot(release, receipt.is_some_and(|r| r.kexec_failed))?;
    }
    if let Some(release) = &choice.release {
        steps.default(release, switch)?;
    }
    steps.runtime();
    if let Some(release) = &choice.release {
        let old = receipt.map(|r| r.origin.as_str()).filter(|o| !o.is_empty()).unwrap_or(&facts.kernel.running);
        steps.remove_old(release, old);
    }
    if !matches!(facts.os.init.as_str(), "openrc") || switch || serviced(facts) {
        steps.finish(switch);
    }
    let notes = preflight::notes(config, facts, &choice);
    Ok(Plan { schema: SCHEMA, choice, steps: steps.list, notes })
}

/// What the renderings depend on, as far as the facts tell.
pub fn inputs<'a>(config: &'a Config, facts: &Facts, rung: Rung) -> Result<Inputs<'a>> {
    let ipv6 = match config.network.ipv6 {
        Ipv6::On if !facts.network.ipv6 => {
            return Err(Error::host("network.ipv6 is on, and IPv6 is switched off on this host")
                .remedy("switch it on (sysctl net.ipv6.conf.all.disable_ipv6=0) or set network.ipv6: auto"));
        }
        Ipv6::On => true,
        Ipv6::Off => false,
        Ipv6::Auto => facts.network.ipv6,
    };
    let mut sysctl = vec![("net.ipv4.ip_forward".to_string(), "1".to_string())];
    if ipv6 {
        sysctl.push(("net.ipv6.conf.all.forwarding".into(), "1".into()));
    }
    let image = facts.engine.image.as_ref().and_then(|i| i.digest.clone());
    Ok(Inputs {
        config,
        rung,
        ipv6,
        image: image.unwrap_or_else(|| config.container.image.to_string()),
        sysctl,
        effective: config.effective_yaml(!facts.database),
    })
}

struct Steps<'a> {
    config: &'a Config,
    facts: &'a Facts,
    receipt: Option<&'a Receipt>,
    inputs: &'a Inputs<'a>,
    list: Vec<Planned>,
}

impl Steps<'_> {
    fn add(&mut self, step: Step, why: impl Into<String>) {
        self.list.push(Planned { step, why: why.into() });
    }

    fn planned(&self, wanted: impl Fn(&Step) -> bool) -> bool {
        self.list.iter().any(|p| wanted(&p.step))
    }

    /// A step was begun and cut off: what a tool says is there may be there by name only.
    fn cut_off(&self, id: &str) -> bool {
        self.receipt.is_some_and(|r| r.is_started(id))
    }

    /// Adds a write unless the file is already as wanted.
    fn write(&mut self, file: Owned, why: &str) {
        let path = file.path(self.config);
        let wanted = file.render(self.inputs).map(|text| sha256(text.as_bytes()));
        let have = self.facts.files.get(&path);
        if have.is_some_and(|h| wanted.as_ref().is_ok_and(|w| *w == h.sha256) && h.mode == file.mode()) {
            return;
        }
        self.add(Step::Write { file, path }, why);
    }

    fn own_files(&mut self) {
        self.write(Owned::Config, "a later run, and the one after a reboot, must know what was asked for");
        if self.facts.files.get(SELF).is_none_or(|f| f.sha256 != self.facts.program_sha256) {
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
                if let Some(url) = apk::missing_community(&apk.repositories) {
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
                Step::Kernel { release: release.into(), flavour: parsed.flavour().to_string(), add },
                "the kernel that the module was built for; the old one stays as the way back",
            );
        }
        let installed = facts.modules.amneziawg.get(release);
        let wanted = facts.candidate.as_ref().map(|c| c.inspection.uncompressed_sha256.as_str());
        let ready = installed.is_some_and(|m| m.indexed && wanted.is_none_or(|w| w == m.sha256))
            && !self.cut_off(&format!("module:{release}"));
        if facts.os.id == "alpine" && !ready {
            let sha256 = wanted.map(String::from).or(installed.map(|m| m.sha256.clone())).unwrap_or_default();
            self.add(
                Step::Module { release: release.into(), sha256 },
                format!("/lib/modules/{release}/{EXTRA}, in place before the reboot"),
            );
        }
        Ok(())
    }

    fn host_files(&mut self) {
        self.write(Owned::ModulesLoad, "loaded at every boot from now on");
        if self.facts.services.get("modules").is_some_and(|m| m.installed && m.runlevels.is_empty()) {
            self.add(enable("modules", "boot"), "it loads what modules-load.d lists");
        }
        self.write(Owned::Sysctl, "set at every boot from now on");
        if self.facts.services.get("sysctl").is_some_and(|s| s.installed && s.runlevels.is_empty()) {
            self.add(enable("sysctl", "boot"), "it sets what sysctl.d lists");
        }
        self.write(Owned::Compose, "from the template for this mode");
        let first = if self.facts.database { Owned::Environment } else { Owned::FirstEnvironment };
        self.write(first, "only root can read it");
    }

    fn reboot(&mut self, release: &str, kexec_failed: bool) -> Result<()> {
        let flavour = parse(release)?.flavour().to_string();
        self.write(Owned::ResumeService, "goes on by itself after the reboot");
        if self.facts.services.get(RESUME).is_none_or(|s| s.runlevels.is_empty()) {
            self.add(enable(RESUME, "default"), "started once the network and sshd are");
        }
        self.write(Owned::Guard, "a kernel that comes up and then hangs is restarted by a watchdog");
        if self.facts.services.get(GUARD_SERVICE).is_none_or(|s| s.runlevels.is_empty()) {
            self.add(enable(GUARD_SERVICE, "sysinit"), "started before anything else can hang");
        }
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

    fn default(&mut self, release: &str, switch: bool) -> Result<()> {
        let facts = self.facts;
        if facts.boot.unsupported.is_some() || facts.os.id != "alpine" {
            return Ok(());
        }
        let Ok(parsed) = release.parse::<Release>() else { return Ok(()) };
        let flavour = parsed.flavour().to_string();
        let trial = facts.boot.entries.iter().any(|e| e.label == TRIAL) || facts.boot.trial_pending;
        if switch || trial || facts.boot.default != flavour || facts.boot.configured_default != flavour {
            self.add(
                Step::Default { flavour, release: release.into() },
                "only now that it runs: the loader's default is changed once and read back",
            );
        }
        Ok(())
    }

    fn runtime(&mut self) {
        let facts = self.facts;
        let rung = self.inputs.rung;
        let rebooting = self.planned(|s| matches!(s, Step::Reboot { .. }));
        let missing: Vec<String> = rung
            .modules()
            .into_iter()
            .filter(|m| rebooting || !facts.modules.loaded.contains(*m))
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
        let wanted = revision(self.inputs).ok();
        let current = facts.container.as_ref().is_some_and(|c| {
            c.running
                && !(facts.database && c.first_start)
                && Some(&c.revision) == wanted.as_ref()
                && c.interface.as_deref() == Some(rung.interface())
        });
        let rewritten = self.planned(|s| {
            matches!(s, Step::Write { file: Owned::Compose | Owned::Environment | Owned::FirstEnvironment, .. })
        });
        let rewritten = rewritten || !current;
        if !facts.database {
            self.add(Step::Compose, "made from the compose file");
            self.add(Step::FirstStart, "it keeps its first settings in its database from then on");
            let path = Owned::Environment.path(self.config);
            self.add(Step::Write { file: Owned::Environment, path }, "the password leaves the disk");
            let path = Owned::Config.path(self.config);
            self.add(Step::Write { file: Owned::Config, path }, "likewise");
            self.add(Step::Compose, "the engine keeps the old environment until the container is made anew");
        } else if rewritten {
            self.add(Step::Compose, "made from the compose file");
        }
        let unhealthy = facts.container.as_ref().is_some_and(|c| c.health == "unhealthy");
        if rewritten || !facts.database || self.cut_off("ready") || unhealthy {
            self.add(ready(rung), "nothing is called done that was not seen to work");
        }
    }

    fn finish(&mut self, switch: bool) {
        if self.facts.os.init == "openrc" && (switch || serviced(self.facts)) {
            self.add(Step::Finish, "nothing is left to resume");
        }
    }
}

/// A service of ours that is there for a reboot only.
fn serviced(facts: &Facts) -> bool {
    [SERVICE, GUARD].iter().any(|path| facts.files.contains_key(*path))
}

fn enable(service: &str, runlevel: &str) -> Step {
    Step::Enable { service: service.into(), runlevel: runlevel.into() }
}

fn ready(rung: Rung) -> Step {
    Step::Ready { interface: rung.interface().into() }
}

fn parse(release: &str) -> Result<Release> {
    release
        .parse()
        .map_err(|e| Error::new(Kind::Config, format!("{release}: not a release of Alpine's kernels")).cause(e))
}
