//! The machine: what was installed, clock, disk, memory, logins, and what has changed since.

use super::check::{Found, View, problem};
use crate::error::Error;
use crate::host::log::timestamp;

/// No host with this program on it has seen an earlier day: 2026-01-01.
const RELEASED: u64 = 1_767_225_600;
/// Clocks are set by small amounts; this is more.
const SLACK: u64 = 3600;
/// MiB that logs and the server's database need to go on.
const FULL: u64 = 50;
const NEARLY_FULL: u64 = 300;
const FEW_INODES: u64 = 1000;
const LITTLE_MEMORY: u64 = 400;

pub fn installation(view: &View) -> Found {
    match view.receipt {
        None => Found::bad(Error::step("nothing was installed here").remedy("run `awg-install`")),
        Some(r) if r.exit_code == Some(0) => Found::good(r.summary.clone()),
        Some(r) => {
            let why = r.ruled_out.iter().map(|o| format!("{}: {}", o.release, o.reason)).collect::<Vec<_>>().join("\n");
            let error =
                Error::step(if r.summary.is_empty() { "it has not ended".to_string() } else { r.summary.clone() });
            let error = if why.is_empty() { error } else { error.cause(why) };
            Found::bad(error.remedy("see `awg-install plan` for what would mend it"))
        }
    }
}

pub fn clock(view: &View) -> Found {
    let (now, before) = (view.more.now, view.more.before);
    let shown = |seconds: u64| timestamp(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
    let remedy = "set the clock (`date -s`), and have it kept: `setup-ntp chrony` on Alpine";
    if now < RELEASED {
        let error = problem(format!("it is {} here", shown(now)), "the clock was never set", remedy);
        return Found::bad(error);
    }
    if now + SLACK < before {
        let seen = format!("it is {} here, and the last run was at {}", shown(now), shown(before));
        return Found::bad(problem(seen, "the clock has gone back, or the last run's was ahead", remedy));
    }
    match view.more.clock_kept {
        true => Found::good(format!("{}, and kept by a service", shown(now))),
        false => Found::good(format!("{}; no service that keeps it was found", shown(now))),
    }
}

pub fn disk(view: &View) -> Found {
    let free = &view.facts.free_mib;
    let Some((place, least)) = free.iter().min_by_key(|(_, mib)| **mib) else {
        return Found::skipped("how much is free cannot be told");
    };
    let seen = free.iter().map(|(place, mib)| format!("{mib} MiB free in {place}")).collect::<Vec<_>>().join(", ");
    let remedy = "free some space: `df -h`, `docker system df`";
    let error = |cause: &str| problem(seen.clone(), cause, remedy);
    match *least {
        mib if mib < FULL => Found::bad(error(&format!("{place} is full: the server cannot write to its database"))),
        // A small /boot is usual, and holds what it must.
        mib if mib < NEARLY_FULL && place == "/" => Found::warning(error("/ is nearly full")),
        _ => Found::good(seen),
    }
}

pub fn inodes(view: &View) -> Found {
    match view.more.inodes {
        None => Found::skipped("the file system does not count them"),
        Some(free) if free < FEW_INODES => Found::bad(problem(
            format!("{free} more files can be made in /"),
            "many small files use up the file system before its space does",
            "remove them: `df -i`, and `du --inodes -x -d 2 /` tells where they are",
        )),
        Some(free) => Found::good(format!("{free} more files can be made in /")),
    }
}

pub fn memory(view: &View) -> Found {
    match view.facts.memory_mib {
        0 => Found::skipped("how much there is cannot be told"),
        mib if mib < LITTLE_MEMORY => Found::warning(problem(
            format!("{mib} MiB in all"),
            "the container may be killed under load",
            "use a machine with more memory, or add swap",
        )),
        mib => {
            Found::good(format!("{mib} MiB in all, {} of them for the server at most", view.config.container.memory))
        }
    }
}

/// The way in is still there: nothing of this program may cut it off.
pub fn logins(view: &View) -> Found {
    let (wanted, tcp) = (&view.more.logins, &view.facts.network.tcp);
    if wanted.is_empty() {
        return Found::skipped("no ssh server is started at boot here");
    }
    let list = wanted.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    match wanted.iter().find_map(|port| tcp.get(port)) {
        Some(by) if by.is_empty() => Found::good(format!("something listens on tcp {list}")),
        Some(by) => Found::good(format!("{by} listens on tcp {list}")),
        None => Found::bad(problem(
            format!("nothing listens on tcp {list}"),
            "the ssh server is started at boot, and does not run: nobody could log in again",
            "before this session ends: `rc-service sshd restart` (`systemctl restart ssh`), and see what it says",
        )),
    }
}

/// Everything this program keeps on the host, held against what it would write now.
pub fn drift(view: &View) -> Found {
    let plan = match view.plan {
        Ok(plan) => plan,
        Err(e) => {
            let error = Error { cause: e.cause.clone(), remedy: e.remedy.clone(), ..Error::step(e.message.clone()) };
            return Found::bad(error);
        }
    };
    let edited = plan.edited().map(|d| format!("{} was edited by hand\n{}", d.path, d.text));
    let steps = plan.steps.iter().filter(|p| p.step.is_drift()).map(|p| p.step.to_string());
    let differs: Vec<String> = edited.chain(steps).collect();
    if differs.is_empty() {
        return Found::good("the host is as it was left");
    }
    let error = Error::step(format!("{} things differ from what was installed", differs.len()));
    Found::bad(error.cause(differs.join("\n")).remedy("run `awg-install install`"))
}
