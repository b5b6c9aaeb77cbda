//! The flows: install, plan and resume. Each is facts → plan → apply → receipt → report.

mod consent;
mod end;
mod guard;

use nix::fcntl::Flock;

use crate::apply::{self, Run};
use crate::backup;
use crate::build;
use crate::change;
use crate::choice::Aim;
use crate::config::Config;
use crate::container;
use crate::error::{Error, Kind, Result};
use crate::facts::{self, Facts, Reach, engine};
use crate::host::{Host, Log};
use crate::kernel;
use crate::module;
use crate::owned::{
    CONFIG, FIREWALL, FIREWALL_UNIT, FIRST_PASSWORD, GUARD, HOOK, MODULES_LOAD, NOTICE, Owned, Rung, SERVICE, SYSCTL,
    WATCHDOG,
};
use crate::plan::{self, Plan};
use crate::pull;
use crate::reboot::{self, End};
use crate::receipt::{self, Change, Entry, MAX_REBOOTS, Outcome, Receipt, RuledOut, STATE_DIR, State, WayBack};
use crate::report::Report;
use crate::sources::{self, Modules};
use crate::undo;
use crate::wayback;
pub use consent::{Attended, confirm};
use consent::{Said, approve, consented, half_way, may_replace};
use end::{before_restart, end_failed, finish, rebooting, refused};
pub use guard::guard;

/// In /run, so that a refused run leaves nothing behind and a restart cannot leave it locked.
pub const LOCK: &str = "/run/awg-install.lock";
pub const LOG: &str = "/var/log/awg-install.log";

/// How often a plan may end in another look at what decides the rest.
const MAX_LOOKS: u32 = 3;

/// What the operator wants of this run.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    pub reboot: bool,
    /// Ask before acting.
    pub confirm: bool,
    /// Overwrite files that were edited by hand; a copy is kept beside.
    pub replace_edited: bool,
    /// Forget that kernels were tried and failed.
    pub retry: bool,
    pub aim: Aim,
    /// Who answered the wizard, where that led here.
    pub attended: Option<&'a Attended>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Code(u8),
    /// The questions that led to the plan are to be asked again; nothing was changed.
    Back,
}

/// The lock that every changing command holds.
pub fn lock(host: &Host) -> Result<Flock<std::fs::File>> {
    host.lock(LOCK)?.ok_or_else(|| {
        Error::new(Kind::Locked, "another run of awg-install is active")
            .cause(format!("it holds {LOCK}"))
            .remedy("wait for it: `awg-install status --wait`")
    })
}

pub fn open_log(host: &mut Host, file: Option<&std::path::Path>) {
    let place = file.map_or_else(|| host.path(LOG), std::path::Path::to_path_buf);
    host.log = Log::open(&place);
}

/// Paths whose content the plan compares.
pub fn owned_paths(config: &Config) -> Vec<String> {
    let rendered = [Owned::Compose, Owned::Environment, Owned::Start, Owned::Firewall, Owned::Caddyfile];
    let rendered = rendered.map(|o| o.path(config));
    [CONFIG, FIRST_PASSWORD, SERVICE, WATCHDOG, GUARD, HOOK, MODULES_LOAD, SYSCTL, FIREWALL, FIREWALL_UNIT, NOTICE]
        .into_iter()
        .map(String::from)
        .chain(rendered)
        .collect()
}

/// Facts, and the bytes of the modules that could be put in place.
pub fn look(host: &Host, config: &Config, reach: Reach, receipt: Option<&Receipt>) -> Result<(Facts, Modules)> {
    if reach == Reach::Network {
        sources::unpack_bundle(host, config)?;
    }
    let owned = owned_paths(config);
    let paths: Vec<&str> = owned.iter().map(String::as_str).collect();
    let mut facts = facts::gather(host, config, &paths, reach);
    facts.database &= !receipt.is_some_and(Receipt::first_start_pending);
    let modules = ask_sources(host, config, reach, &mut facts, receipt.is_none())?;
    Ok((facts, modules))
}

fn ask_sources(host: &Host, config: &Config, reach: Reach, facts: &mut Facts, new: bool) -> Result<Modules> {
    let modules = sources::ask(host, config, reach, facts, new)?;
    kernel::drop_misfits(host, facts);
    Ok(modules)
}

/// `install`: also what cloud-init ends in. Returns the exit code.
pub fn install(host: &Host, config: &Config, report: &Report, wish: Wish) -> Result<u8> {
    code(install_or_back(host, config, report, wish)?)
}

/// The same for the wizard, whose plan can be gone back from.
pub fn install_or_back(host: &Host, config: &Config, report: &Report, mut wish: Wish) -> Result<Ended> {
    let _lock = lock(host)?;
    backup::settle(host, config, report)?;
    let mut receipt = Receipt::load(host)?.filter(|r| r.outcome != Outcome::RolledBack);
    if let Some(receipt) = &mut receipt {
        undo::refuse_unfinished(receipt)?;
        settle_reboot(host, receipt, report)?;
        // Another module or image may do where the last one did not; a kernel that did not come up stays out.
        if wish.aim == Aim::Upgrade && receipt.ruled_out.iter().any(|r| !r.boot) {
            receipt.ruled_out.retain(|r| r.boot);
            receipt.save(host)?;
        }
        if wish.retry && !receipt.ruled_out.is_empty() {
            receipt.ruled_out.clear();
            receipt.kexec_failed = false;
            receipt.save(host)?;
        }
    }
    if let Some(receipt) = &receipt {
        wish.replace_edited |= consented(host, config, report, wish, receipt)?;
    }
    let fresh = receipt.is_none() && !host.exists(STATE_DIR);
    let ended = reconcile(host, config, report, wish, receipt);
    if fresh && !matches!(ended, Ok(Ended::Code(_))) && !host.exists(receipt::PATH) {
        // Refused before anything was begun: what was fetched to find that out goes as well.
        build::remove_cache(host)?;
        host.remove_empty_dir(STATE_DIR);
    }
    ended
}

/// `resume`: what the service calls after the reboot; harmless by hand.
pub fn resume(host: &Host, config: &Config, report: &Report, wish: Wish) -> Result<u8> {
    let _lock = lock(host)?;
    let Some(mut receipt) = Receipt::load(host)? else {
        report.end("nothing", 0, "nothing to resume: no installation was begun here", "");
        return Ok(0);
    };
    if !receipt.pending() {
        report.end("nothing", 0, "nothing to resume: the installation has ended", &receipt.summary);
        return Ok(0);
    }
    if let Some(asked) = &receipt.reboot
        && asked.boot_id == host.boot_id()
        && receipt.outcome == Outcome::RebootScheduled
        && asked.attempt < MAX_REBOOTS
    {
        report.note("the reboot did not happen; asking for it again");
    }
    settle_reboot(host, &mut receipt, report)?;
    let ended = reconcile(host, config, report, wish, Some(receipt));
    if let Some(receipt) = Receipt::load(host)?.filter(|r| !r.pending()) {
        reboot::tell_first_boot(host, &receipt.summary);
    }
    code(ended?)
}

/// Where nobody is asked, nobody goes back.
fn code(ended: Ended) -> Result<u8> {
    match ended {
        Ended::Code(code) => Ok(code),
        Ended::Back => Err(crate::ask::stopped()),
    }
}

/// Plans and acts until nothing is left to do, following `fallback` when the kernel rung fails.
fn reconcile(host: &Host, config: &Config, report: &Report, wish: Wish, receipt: Option<Receipt>) -> Result<Ended> {
    build::sweep(host)?;
    let mut receipt = receipt;
    // A way back that was begun is gone to its end first.
    if let Some(receipt) = &mut receipt
        && let Some(why) = receipt.way_back.as_ref().and_then(|w| w.failed.clone())
    {
        wayback::go_back(host, config, report, receipt, &why)?;
    }
    let aim = wish.aim;
    let mut asked = !wish.confirm;
    let mut looks = 0;
    // What goes on by itself after a restart, and the check at boot, say in the receipt how they end.
    let mut begun = aim == Aim::Boot || receipt.as_ref().is_some_and(Receipt::pending);
    loop {
        if let Some(receipt) = &mut receipt {
            take_back_ruled_out(host, config, receipt, aim)?;
        }
        let planned = look_and_plan(host, config, receipt.as_ref(), aim, aim == Aim::Upgrade && looks == 0)
            .and_then(|all| if all.0.pulls() { pull::foresee(host, config).map(|()| all) } else { Ok(all) });
        let (plan, facts, modules) = match planned {
            Ok(all) => all,
            Err(error) => return Err(refused(host, receipt, error, begun)),
        };
        report.plan(&plan, &facts);
        if !wish.replace_edited
            && aim != Aim::Boot
            && let Err(error) = may_replace(host, &plan, wish.confirm)
        {
            return Err(refused(host, receipt, error, begun));
        }
        if plan.steps.is_empty() {
            return finish(host, config, report, &plan, receipt, Some(&facts)).map(Ended::Code);
        }
        if !asked {
            // What an earlier run has begun stays as it is after a no; what this one has begun ends with it.
            let acted = looks > 0;
            match approve(host, &plan, wish.attended.is_some() && !acted) {
                Ok(Said::Yes) => asked = true,
                Ok(Said::Back) => return Ok(Ended::Back),
                Err(error) if acted => return Err(end_failed(host, receipt, half_way(error))),
                Err(error) => return Err(error),
            }
        }
        let mut current = match receipt.take() {
            Some(r) => r,
            None => Receipt::new(host),
        };
        (current.outcome, current.exit_code) = (Outcome::Running, None);
        current.mode = plan.choice.rung.as_str().into();
        current.summary = match aim {
            Aim::Boot => "the check at boot is under way".into(),
            Aim::Install | Aim::Upgrade => "under way".into(),
        };
        host.make_dirs(STATE_DIR, 0o700)?;
        current.save(host)?;
        begun = true;
        let ahead = |release: &str| before_restart(host, config, wish, release);
        let run =
            Run { host, config, facts: &facts, report, modules: &modules, reboot_allowed: wish.reboot, ahead: &ahead };
        match apply::apply(&run, &plan, &mut current) {
            // What decides the rest is here now.
            Ok(End::Done) if plan.choice.open.is_some() => {
                looks += 1;
                if looks > MAX_LOOKS {
                    let error = Error::step("what was looked into is not there afterwards")
                        .remedy("see the log, then run this again");
                    return Err(end_failed(host, Some(current), error));
                }
                // The rest is another plan than the one that was said yes to.
                asked = !wish.confirm;
                receipt = Some(current);
            }
            Ok(End::Done) => {
                return finish(host, config, report, &plan, Some(current), None).map(Ended::Code);
            }
            Ok(end) => {
                let code = rebooting(host, config, report, &current, end, wish.attended.is_some());
                return Ok(Ended::Code(code));
            }
            // Asked to stop: nothing has failed, and the next run or the resume service goes on.
            Err(failed) if host.stop_requested().is_some() => {
                current.exit_code = None;
                current.summary = failed.error.message.clone();
                current.save(host)?;
                return Err(failed.error);
            }
            Err(failed) => {
                let at_once = is_set_at_fault(host, &plan, &current);
                if !at_once && rule_out(host, config, report, &plan, &mut current, &failed)? {
                    receipt = Some(current);
                    continue;
                }
                let error = go_back(host, config, report, &mut current, failed.error);
                return Err(end_failed(host, Some(current), error));
            }
        }
    }
}

/// What files and the engine tell is enough for a host that needs nothing. Where something is to be done, apk
/// is asked for what it has; the mirror only where packages are to be chosen.
///
/// An upgrade begins with the image as it is now in its registry: until then there counts as none.
fn look_and_plan(
    host: &Host,
    config: &Config,
    receipt: Option<&Receipt>,
    aim: Aim,
    stale_image: bool,
) -> Result<(Plan, Facts, Modules)> {
    if receipt.is_none() {
        let (facts, modules) = look(host, config, Reach::Network, receipt)?;
        let plan = plan::plan(config, &facts, receipt, aim)?;
        kernel::foresee(host, &facts, plan.choice.release.as_deref())?;
        return Ok((plan, facts, modules));
    }
    let (mut facts, mut modules) = look(host, config, Reach::Files, receipt)?;
    if container::came_up(host, &config.container.name.to_string(), &facts) {
        (facts, modules) = look(host, config, Reach::Files, receipt)?;
    }
    if stale_image {
        facts.engine.image = None;
        if let Some(https) = &mut facts.https {
            https.image = None;
        }
    }
    // At boot the image stays what it is, whatever its name leads to by now.
    if let (Aim::Boot, Some(container)) = (aim, &facts.container)
        && !container.image.is_empty()
        && let Some(used) = engine::image_by_id(host, &container.image, &config.container.image.to_string())
    {
        facts.engine.image = Some(used);
    }
    let mut planned = plan::plan(config, &facts, receipt, aim);
    if aim != Aim::Upgrade && !planned.as_ref().is_ok_and(Plan::is_last) {
        modules.extend(ask_apk(host, config, Reach::Local, aim, &mut facts)?);
        planned = plan::plan(config, &facts, receipt, aim);
    }
    if aim == Aim::Boot {
        return Ok((planned?, facts, modules));
    }
    if let Ok(plan) = planned
        && aim == Aim::Install
        && !plan.needs_mirror()
    {
        return Ok((plan, facts, modules));
    }
    sources::unpack_bundle(host, config)?;
    modules.extend(ask_apk(host, config, Reach::Network, aim, &mut facts)?);
    Ok((plan::plan(config, &facts, receipt, aim)?, facts, modules))
}

/// What apk can get, and the sources once more, which go by the kernels among it.
fn ask_apk(host: &Host, config: &Config, reach: Reach, aim: Aim, facts: &mut Facts) -> Result<Modules> {
    if facts.apk.is_some() {
        facts.apk = Some(facts::apk::probe(host, &facts.os, reach));
    }
    if aim == Aim::Boot { Ok(Modules::new()) } else { ask_sources(host, config, reach, facts, false) }
}

/// The kernel's rung is not to blame: it is the kernel and the mode that the server worked with before.
fn is_set_at_fault(host: &Host, plan: &Plan, receipt: &Receipt) -> bool {
    let running = host.release();
    let stays = plan.choice.release.as_ref().is_none_or(|release| *release == running);
    let same = |w: &WayBack| w.release == running && w.interface.as_deref() == Some(Rung::Kernel.interface());
    stays && receipt.way_back.as_ref().is_some_and(same)
}

/// Goes back where there is a way back; the error says how that ended.
fn go_back(host: &Host, config: &Config, report: &Report, receipt: &mut Receipt, error: Error) -> Error {
    if receipt.way_back.is_none() {
        return error;
    }
    report.note(&error.message);
    match wayback::go_back(host, config, report, receipt, &error.message) {
        Ok(()) => Error { message: format!("{}; the server runs as before", error.message), ..error },
        Err(second) => {
            let cause = format!("{}\n{}", error.cause.unwrap_or_default(), second).trim().to_string();
            Error::step(format!("{}; and the way back failed: {}", error.message, second.message))
                .cause(cause)
                .remedy("run `awg-install install` again: it goes back first")
        }
    }
}

/// Whether the run goes on, one rung down, after the kernel rung has failed.
fn rule_out(
    host: &Host,
    config: &Config,
    report: &Report,
    plan: &Plan,
    receipt: &mut Receipt,
    failed: &apply::Failed,
) -> Result<bool> {
    let Some(release) = plan.choice.release.clone().filter(|_| apply::belongs_to_kernel(&failed.step)) else {
        return Ok(false);
    };
    let reason = format!("{}: {}", failed.step, failed.error.message);
    report.error(&failed.error);
    receipt.ruled_out.push(RuledOut { release: release.clone(), reason, boot: false });
    receipt.save(host)?;
    report.note(&format!("the kernel mode on {release} is ruled out; fallback: {}", config.fallback));
    Ok(true)
}

/// Takes back what only a kernel that is ruled out needed. What is left to do shows in the receipt, so
/// that a run that was cut off here is made up for by the next one.
fn take_back_ruled_out(host: &Host, config: &Config, receipt: &mut Receipt, aim: Aim) -> Result<()> {
    // At boot the kernel stays what it is.
    let kinds: &[&str] = if aim == Aim::Boot { &["module", "prove"] } else { &["module", "prove", "arm", "default"] };
    let ruled_out: Vec<String> = receipt.ruled_out.iter().map(|r| r.release.clone()).collect();
    for release in ruled_out {
        let ids: Vec<String> = kinds.iter().map(|kind| format!("{kind}:{release}")).collect();
        // A kernel that was only half installed goes as well; one that is whole may be tried again.
        let half = format!("kernel:{release}");
        let belongs =
            |e: &Entry| e.state != State::Undone && (ids.contains(&e.id) || e.id == half && e.state == State::Started);
        let chosen: Vec<String> = receipt.steps.iter().filter(|e| belongs(e)).map(|e| e.id.clone()).collect();
        if chosen.is_empty() {
            continue;
        }
        // A module that does not work must not stay where it would be loaded and found; a container that
        // uses it would keep it loaded.
        change::undo(host, &Change::Project { directory: config.container.directory.to_string() }, false)?;
        // While its file is still indexed: modprobe looks it up.
        change::undo(host, &Change::Loaded { module: module::NAME.into() }, false)?;
        undo::some(host, receipt, |id| id.starts_with("load:") || chosen.iter().any(|i| i == id))?;
    }
    Ok(())
}

/// Finds out what became of a reboot that was asked for.
fn settle_reboot(host: &Host, receipt: &mut Receipt, report: &Report) -> Result<()> {
    let Some(asked) = receipt.reboot.clone() else { return Ok(()) };
    if asked.boot_id != host.boot_id() {
        // Whatever came of it, the run goes on from here.
        (receipt.outcome, receipt.exit_code) = (Outcome::Running, None);
    }
    let expected = &asked.expected_release;
    let reason = match reboot::outcome(host, &asked) {
        reboot::Outcome::Pending => return Ok(()),
        reboot::Outcome::CameUp => {
            report.note(&format!("the host runs {expected}, as expected"));
            None
        }
        // The loader was not armed: it has not been tried yet.
        reboot::Outcome::Failed(_) if asked.kexec && asked.boot_id != host.boot_id() => {
            report.note(&format!("{expected} did not come up by kexec; the boot loader starts it next"));
            receipt.kexec_failed = true;
            None
        }
        reboot::Outcome::Failed(reason) => {
            report.note(&format!("{expected} did not come up: {reason}"));
            Some(reason)
        }
    };
    receipt.ruled_out.extend(reason.map(|reason| RuledOut { release: expected.clone(), reason, boot: true }));
    receipt.reboot = None;
    receipt.save(host)
}
