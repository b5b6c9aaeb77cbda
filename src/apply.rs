//! The only loop that acts: record ahead, act, verify, record done.

use std::time::Instant;

use xshell::cmd;

use crate::beside::Beside;
use crate::change;
use crate::config::{Config, ImageRef};
use crate::container::Peers;
use crate::error::{Error, Result};
use crate::facts::{Facts, apk, engine};
use crate::host::{Host, Limits, files::sha256};
use crate::owned::{Owned, SELF};
use crate::plan::{self, Plan};
use crate::reboot::{self, End};
use crate::receipt::{Change, Receipt, State};
use crate::report::Report;
use crate::sources::{self, Modules};
use crate::step::{RESUME, Step};
use crate::{bootloader, container, daemon, https, image, kernel, module, preflight, proof, pull, wayback};

/// Everything a run carries with it.
pub struct Run<'a> {
    pub host: &'a Host,
    pub config: &'a Config,
    pub facts: &'a Facts,
    pub report: &'a Report<'a>,
    /// The modules that were inspected; what is written is what was checked.
    pub modules: &'a Modules,
    pub reboot_allowed: bool,
    /// Called with the kernel's release before a restart into it.
    pub ahead: &'a dyn Fn(&str) -> Result<()>,
}

/// A step that failed.
pub struct Failed {
    pub step: Step,
    pub error: Error,
}

/// Carries out a plan. On failure the receipt says where.
pub fn apply(run: &Run, plan: &Plan, receipt: &mut Receipt) -> std::result::Result<End, Box<Failed>> {
    let mut beside = Beside::default();
    let end = each(run, plan, receipt, &mut beside);
    if end.is_err() {
        beside.give_up(run, receipt);
    }
    end
}

fn each(run: &Run, plan: &Plan, receipt: &mut Receipt, beside: &mut Beside) -> std::result::Result<End, Box<Failed>> {
    let total = plan.steps.len();
    let mut so_far = SoFar::default();
    for (index, planned) in plan.steps.iter().enumerate() {
        let step = &planned.step;
        run.host.go_on().map_err(|e| failed(step, e))?;
        // What has failed meanwhile is told before more is changed.
        beside.settle(run, receipt, !step.goes_beside_a_pull())?;
        // The signal may have come while a pull was waited for, too late to end it.
        run.host.go_on().map_err(|e| failed(step, e))?;
        let began = Instant::now();
        run.report.step(index + 1, total, step);
        if planned.beside {
            start_beside(run, receipt, step, beside).map_err(|e| failed(step, e))?;
            continue;
        }
        let outcome = match step {
            Step::Reboot { release, kexec } => {
                let end = (run.ahead)(release).and_then(|()| restart(run, receipt, release, *kexec));
                return end.map_err(|e| failed(step, e));
            }
            _ => one(run, plan, receipt, step, &mut so_far),
        };
        outcome.map_err(|e| failed(step, e))?;
        so_far.started |= matches!(step, Step::FirstStart | Step::Ready { .. });
        run.report.step_done(step, began.elapsed());
    }
    beside.settle(run, receipt, true)?;
    Ok(End::Done)
}

fn start_beside(run: &Run, receipt: &mut Receipt, step: &Step, beside: &mut Beside) -> Result<()> {
    let Step::Pull { image } = step else { return Ok(()) };
    let before = receipt.state(&step.id());
    change::record(run.host, step, &run.config.container.directory.to_string(), receipt)?;
    beside.start(run, step, of_configuration(run.config, image), before);
    Ok(())
}

fn failed(step: &Step, error: Error) -> Box<Failed> {
    Box::new(Failed { step: step.clone(), error })
}

/// What later steps must know of earlier ones.
#[derive(Default)]
struct SoFar {
    /// The new server was seen to run.
    started: bool,
    /// Where the peers of the old one are, once that was asked.
    peers: Option<Peers>,
}

fn one(run: &Run, plan: &Plan, receipt: &mut Receipt, step: &Step, so_far: &mut SoFar) -> Result<()> {
    let host = run.host;
    let name = run.config.container.name.to_string();
    let id = step.id();
    let directory = run.config.container.directory.to_string();
    let before = receipt.state(&id);
    change::record(host, step, &directory, receipt)?;
    // What can be done before the container stops is: its peers wait from then on.
    let runs = run.facts.container.as_ref().is_some_and(|c| c.running);
    if runs && matches!(step, Step::Load { .. } | Step::Compose) {
        so_far.peers.get_or_insert_with(|| Peers::of(host, &name));
    }
    if runs && *step == Step::Compose {
        container::check(host, run.config)?;
    }
    wayback::ahead(host, run.config, step, receipt)?;
    let acted = act(run, plan, receipt, step, so_far.started, before == Some(State::Started));
    if let Some(peers) = so_far.peers.as_ref().filter(|_| *step == Step::Compose && acted.is_ok()) {
        peers.call(host, &name);
    }
    conclude(run, receipt, step, before, acted)
}

/// Records what came of a step; `before` is what the receipt said of it until it was begun.
pub fn conclude(run: &Run, receipt: &mut Receipt, step: &Step, before: Option<State>, acted: Result<()>) -> Result<()> {
    let (host, id) = (run.host, step.id());
    if acted.is_err() && matches!(step, Step::Pull { .. }) {
        // It has left nothing behind: what the operator loads by hand meanwhile is not to be distrusted.
        receipt.take_back(&id, before);
        receipt.save(host)?;
    }
    acted?;
    // What tools have written is on the disk before the receipt says that it is: few of them see to that.
    host.sync();
    receipt.finish(&id);
    receipt.save(host)
}

/// `again`: an earlier attempt at this step was cut off, and may have left files by name only.
fn act(run: &Run, plan: &Plan, receipt: &mut Receipt, step: &Step, started: bool, again: bool) -> Result<()> {
    let (host, facts) = (run.host, run.facts);
    let sh = host.shell();
    let crashing = |error| container::given_up(host, run.config, error);
    let before = || receipt.installed_before(&step.id()).filter(|_| again);
    match step {
        Step::Write { file, path } => write(run, plan, receipt, (*file, path), started),
        Step::KeepEdited { path } => keep_edited(host, path, receipt),
        Step::WayBack => wayback::remember(host, run.config, facts.container.as_ref(), receipt),
        Step::Backup => wayback::back_up(host, run.config, run.report, receipt),
        Step::InstallSelf => {
            host.make_dirs("/usr/local/sbin", 0o755)?;
            host.install_self(SELF)
        }
        Step::Repository { url } => add_repository(host, url),
        Step::Packages { add, .. } => kernel::add_packages(host, add, before()),
        Step::Kernel { release, flavour, add, files } => {
            let add = kernel::Add { packages: add, files };
            kernel::install(host, release, flavour, &add, before())
        }
        Step::Hold { constraint } => kernel::hold(host, constraint),
        Step::Module { release, sha256 } => {
            // One that was compiled in this run was not known when the plan was made.
            let built = || host.read(sources::built(release)).filter(|_| sha256.is_empty());
            let bytes = run.modules.get(sha256).cloned().or_else(built);
            kernel::install_module(host, release, bytes.as_deref(), &facts.arch)
        }
        Step::Build { release } => build(run, release),
        Step::Clean { release } => kernel::clean(host, release),
        Step::Enable { service, runlevel } => change::enable(host, service, runlevel),
        Step::Start { service } if service == "docker" => daemon::start(host, run.report, receipt.store_is_new()),
        Step::Start { service } => {
            host.run(cmd!(sh, "rc-service {service} start"), Limits::seconds(120), "starting the service").map(drop)
        }
        Step::Pull { image } => pull::pull(host, run.config, of_configuration(run.config, image), &facts.arch, again),
        Step::Extract { image } => {
            let fit = (plan.choice.rung, preflight::backend(facts, &plan.choice));
            image::look(host, image, Some(fit).filter(|_| plan.choice.open.is_none()))
        }
        Step::Arm { flavour, release } => {
            // What is armed is what was verified, however long ago it was installed.
            kernel::verify(host, release, flavour)?;
            kernel::room_to_go_on(host)?;
            bootloader::arm(host, flavour)
        }
        Step::Reboot { .. } => Ok(()),
        Step::Default { flavour, .. } => bootloader::make_default(host, flavour),
        Step::RemoveOld { package, release } => kernel::remove_old(host, package, release),
        Step::Load { modules } => load(run, modules),
        Step::Prove { release } => {
            let proof = proof::prove(host, &run.config.container.image.to_string(), release)?;
            run.report.tunnel(&proof);
            receipt.proven = Some(proof.proven);
            Ok(())
        }
        Step::Sysctl { values } => {
            for (name, value) in values {
                host.run(cmd!(sh, "sysctl -w {name}={value}"), Limits::seconds(10), "setting a sysctl")?;
            }
            Ok(())
        }
        Step::Firewall { script } => change::place_rules(host, script),
        Step::Compose => container::up(host, run.config).map_err(crashing),
        Step::FirstStart => {
            container::first_start(host, run.config, run.report).map_err(crashing)?;
            receipt.first_start = run.config.first_start();
            Ok(())
        }
        Step::Ready { interface } => {
            let seen = container::prove(host, run.config, Some(run.report), interface).map_err(crashing)?;
            run.report.proof(interface, run.config.server.port, seen.web);
            Ok(())
        }
        Step::Https { url } => {
            let proof = https::prove(host, run.config, again)?;
            run.report.https(url, &proof);
            Ok(())
        }
        Step::Finish => change::remove_services(host),
    }
}

/// The image that a step names, as the configuration has it.
fn of_configuration<'a>(config: &'a Config, image: &str) -> &'a ImageRef {
    let of_the_page = &config.server.https.image;
    if image == of_the_page.to_string() { of_the_page } else { &config.container.image }
}

/// The restart that the plan ends in for now. A kernel that kexec cannot load is left to the boot loader.
fn restart(run: &Run, receipt: &mut Receipt, release: &str, kexec: bool) -> Result<End> {
    let host = run.host;
    if !kexec || !run.reboot_allowed {
        return reboot::ask(host, receipt, release, run.reboot_allowed);
    }
    let flavour = release.rsplit('-').next().unwrap_or_default();
    kernel::verify(host, release, flavour)?;
    match kernel::load_for_kexec(host, flavour) {
        Ok(()) => reboot::ask_kexec(host, receipt, release),
        Err(why) => {
            run.report.note(&format!("kexec cannot be used here, the boot loader starts the new kernel: {why}"));
            receipt.kexec_failed = true;
            let step = Step::Arm { flavour: flavour.into(), release: release.into() };
            change::record(host, &step, "", receipt)?;
            bootloader::arm(host, flavour)?;
            receipt.finish(&step.id());
            reboot::ask(host, receipt, release, run.reboot_allowed)
        }
    }
}

/// Renders with what is known now: an image that was pulled meanwhile is pinned by its digest.
fn write(run: &Run, plan: &Plan, receipt: &mut Receipt, what: (Owned, &str), started: bool) -> Result<()> {
    let (host, (file, path)) = (run.host, what);
    let mut facts = run.facts.clone();
    facts.database |= started;
    if file == Owned::Compose && facts.engine.image.is_none() && host.which("docker").is_some() {
        facts.engine.image = engine::image(host, &run.config.container.image.to_string());
    }
    if let Some(https) = facts.https.as_mut().filter(|h| file == Owned::Compose && h.image.is_none()) {
        https.image = engine::image(host, &run.config.server.https.image.to_string());
    }
    let inputs = plan::inputs(run.config, &facts, &plan.choice)?;
    if file == Owned::Compose && inputs.command.is_empty() {
        let image = &run.config.container.image;
        return Err(Error::step(format!("what {image} starts cannot be told"))
            .cause("it has neither an entrypoint nor a command, or is not here")
            .remedy("run this again; if that does not help, name another image"));
    }
    let text = file.render(&inputs)?;
    if let Some(dir) = std::path::Path::new(path).parent() {
        host.make_dirs(dir, 0o755)?;
    }
    if matches!(file, Owned::FirstEnvironment | Owned::FirstPassword) || file == Owned::Config && !facts.database {
        // It holds the password: not even its hash is kept.
        receipt.written.remove(path);
        return host.write(path, text.as_bytes(), file.mode());
    }
    let sha256 = sha256(text.as_bytes());
    receipt.writing = Some((path.into(), sha256.clone()));
    receipt.save(host)?;
    host.write(path, text.as_bytes(), file.mode())?;
    receipt.writing = None;
    receipt.written.insert(path.into(), sha256);
    Ok(())
}

/// Under the name that was recorded for it; only root reads it, for it may hold anything.
fn keep_edited(host: &Host, path: &str, receipt: &Receipt) -> Result<()> {
    let id = Step::KeepEdited { path: path.into() }.id();
    let entry = receipt.steps.iter().rfind(|e| e.id == id);
    let copy = entry
        .and_then(|e| e.prior.iter().rev().find_map(|c| if let Change::Data { path } = c { Some(path) } else { None }));
    let (Some(copy), Some(bytes)) = (copy, host.read(path)) else {
        return Err(Error::step(format!("{path}: the edited file cannot be kept")).remedy("copy it away by hand"));
    };
    host.write(copy, &bytes, 0o600)
}

fn add_repository(host: &Host, url: &str) -> Result<()> {
    let mut text = host.read_text(apk::REPOSITORIES).unwrap_or_default();
    if !apk::parse_repositories(&text).iter().any(|r| r == url) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{url}\n"));
        host.edit(apk::REPOSITORIES, &text)?;
    }
    let sh = host.shell();
    host.run(cmd!(sh, "apk --wait 300 update"), Limits::seconds(600), "reading the repositories").map(drop)
}

fn load(run: &Run, modules: &[String]) -> Result<()> {
    let host = run.host;
    let sh = host.shell();
    for module in modules {
        // It is loaded and was planned to be loaded: another build of it must go first, and what uses it.
        if module == module::NAME && run.facts.modules.loaded.contains(module) {
            let directory = run.config.container.directory.to_string();
            change::undo(host, &Change::Project { directory }, false)?;
            change::undo(host, &Change::Loaded { module: module.clone() }, false)?;
        }
        let out = host.ask(cmd!(sh, "modprobe {module}"), Limits::seconds(60));
        if !out.ok() {
            let log = host.ask(cmd!(sh, "dmesg"), Limits::seconds(10));
            let said: Vec<&str> = log.stdout.lines().filter(|l| l.contains(module.as_str())).collect();
            let mut error = out.error(format!("the module {module} cannot be loaded"));
            if let Some(line) = said.last() {
                error.cause = Some(format!("{}\nkernel: {line}", error.cause.unwrap_or_default()));
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Compiles the module, and keeps it where the next look finds it.
fn build(run: &Run, release: &str) -> Result<()> {
    let bytes = crate::build::build(run.host, run.config, release, &|phase| run.report.note(phase))?;
    let built = module::inspect(&bytes, &module::Limits::default())?;
    if built.name != module::NAME || built.vermagic.release != release {
        let got = format!("a module called {} for {}", built.name, built.vermagic.release);
        return Err(Error::step(format!("what was compiled is not the module for {release}")).cause(got));
    }
    let path = sources::built(release);
    if let Some(directory) = std::path::Path::new(&path).parent() {
        run.host.make_dirs(directory, 0o700)?;
    }
    run.host.write(&path, &bytes, 0o600)
}

/// Steps whose failure rules the kernel rung out rather than the whole installation.
pub fn belongs_to_kernel(step: &Step) -> bool {
    match step {
        Step::Kernel { .. } | Step::Module { .. } | Step::Arm { .. } | Step::Default { .. } => true,
        Step::Build { .. } | Step::Prove { .. } => true,
        Step::Load { modules } => modules.iter().any(|m| m == module::NAME),
        Step::FirstStart => true,
        Step::Ready { interface } => interface == "amneziawg",
        Step::Enable { service, .. } => service == RESUME,
        _ => false,
    }
}
