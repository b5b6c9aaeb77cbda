//! The engine's daemon: started, waited for, and given a new store where a power cut has spoilt one that
//! held nothing yet; and containers of ours that are to be gone.

use std::time::{Duration, Instant};

use xshell::cmd;

use crate::error::{Error, Result};
use crate::facts::engine::{self, STORES};
use crate::host::http::ENGINE_SOCKET;
use crate::host::{Host, Limits, Reply};
use crate::report::Report;

/// A slow machine needs a while to set its store up.
const READY: Duration = Duration::from_secs(300);
/// Where Alpine's service writes what the daemon says (docker-openrc, conf.d/docker).
const LOG: &str = "/var/log/docker.log";
/// What dockerd says last when it gives up (moby, cmd/dockerd: "failed to start daemon: ...", likewise for
/// its containerd). Its supervisor starts it again, and it ends the same way.
const GAVE_UP: &str = "failed to start ";
/// The supervisor tries ten times (supervise-daemon, --respawn-max); what has failed so often stays so.
const ENOUGH: usize = 3;

/// Starts the engine and waits until it answers.
///
/// `store_is_new`: the store was made by this installation, which has put nothing into it. dockerd makes its databases at the first start without bringing their directory entries to the disk;
/// a power cut then leaves empty ones, which it refuses ever after ("invalid database").
pub fn start(host: &Host, report: &Report, store_is_new: bool) -> Result<()> {
    service(host, "start")?;
    let Err(error) = wait(host) else { return Ok(()) };
    host.go_on()?;
    if !(store_is_new && holds_nothing(host)) {
        return Err(error);
    }
    let why = error.cause.unwrap_or(error.message);
    report.note(&format!("the container engine does not come up; its store is new and empty, and is made anew: {why}"));
    service(host, "stop")?;
    for store in STORES {
        // Not the directory itself: a daemon that died leaves it mounted.
        for name in host.names(store) {
            host.remove_tree(format!("{store}/{name}"))?;
        }
    }
    service(host, "start")?;
    wait(host)
}

/// Whether its service is one that this program can start and stop.
pub fn is_serviced(host: &Host) -> bool {
    host.which("rc-service").is_some()
}

/// Stops the engine, and starts it again.
pub fn restart(host: &Host) -> Result<()> {
    service(host, "stop")?;
    service(host, "start")?;
    wait(host)
}

fn service(host: &Host, verb: &str) -> Result<()> {
    let sh = host.shell();
    let doing = if verb == "start" { "starting the service docker" } else { "stopping the service docker" };
    host.run(cmd!(sh, "rc-service docker {verb}"), Limits::seconds(120), doing).map(drop)
}

/// "Started" is not "answers": waits for the socket.
pub fn wait(host: &Host) -> Result<()> {
    let (began, said) = (Instant::now(), host.size(LOG));
    loop {
        host.go_on()?;
        let reply = host.engine_get("/version");
        let mut why = match &reply {
            Reply::Answer(_, version) if engine::parse_version(version).is_some() => return Ok(()),
            Reply::Answer(status, _) => format!("it answered with status {status}"),
            Reply::Absent => format!("nothing listens on {ENGINE_SOCKET}"),
            Reply::Silent(why) => why.clone(),
        };
        let log = host.read_from(LOG, said).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let failures = failures(&log);
        if failures.len() >= ENOUGH || began.elapsed() > READY || host.is_fake() {
            if let Some(last) = failures.last() {
                why = format!("{why}\nit says: {last}");
            }
            let waited = began.elapsed().as_secs();
            return Err(Error::step(format!("the container engine does not answer after {waited} s"))
                .cause(why)
                .remedy(format!("look at {LOG}")));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Removes a container of ours that is to be gone, where there is one.
pub fn remove_container(host: &Host, name: &str) {
    if engine::container(host, name).is_some() {
        let sh = host.shell();
        host.ask(cmd!(sh, "docker rm --force {name}"), Limits::seconds(60));
    }
}

/// After a boot the engine may still be starting: what it would answer decides the plan. Says whether it answers.
pub fn wait_if_started(host: &Host) -> bool {
    // A broken engine shows in the facts, and the plan starts it again.
    host.exists("/run/openrc/started/docker") && host.which("docker").is_some() && wait(host).is_ok()
}

/// No container and no volume, whosever.
fn holds_nothing(host: &Host) -> bool {
    let own = |name: &String| name == "metadata.db" || name == "backingFsBlockDev";
    host.names("/var/lib/docker/containers").is_empty() && host.names("/var/lib/docker/volumes").iter().all(own)
}

/// The lines in which the daemon says that it gives up.
fn failures(log: &str) -> Vec<&str> {
    log.lines().map(str::trim).filter(|line| line.starts_with(GAVE_UP)).collect()
}
