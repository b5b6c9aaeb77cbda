//! Proving the container: what is seen of it, how long it is waited for, and why it is not what was asked for.

use std::time::{Duration, Instant};

use super::LOOP;
use super::known;
use super::said::{Said, causes, remedies, said, shown};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::facts::engine::{self, LastState};
use crate::facts::{Container, network::parse_sockets};
use crate::host::Host;
use crate::host::log::QUOTES;
use crate::report::Report;

/// A slow machine needs a while to unpack, migrate and start.
pub(super) const READY: Duration = Duration::from_secs(300);
/// A container that is gone, or stopped without being restarted, does not come back by itself.
const STOPPED: Duration = Duration::from_secs(10);
/// The engine calls a container unhealthy only after a start period and several failures.
const UNHEALTHY: Duration = Duration::from_secs(120);
/// What is waited for is told after this, and again when it has changed or some time has gone.
const TELL: Duration = Duration::from_secs(5);
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// The last lines of the container that are shown.
const SHOWN: usize = 15;

/// What a proof saw; each part must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub healthy: bool,
    pub interface: Option<String>,
    pub udp: bool,
    pub web: Option<u16>,
}

/// Waits until the server's first-start settings are in its database. The login page answers only then: before
/// that every page leads to the setup, which would be open to whoever comes first.
pub fn first_start(host: &Host, config: &Config, report: &Report) -> Result<()> {
    let database = format!("{}/data/wg-easy.db", config.container.directory);
    let mut wait = Wait::new(host, config, Some(report), None);
    loop {
        let (container, last) = engine::observe(host, &config.container.name).unzip();
        let mut seen = container.as_ref().map(|c| look(host, config, c)).unwrap_or_default();
        seen.web = container.as_ref().and_then(|c| page(host, config, c, "login"));
        if seen.web == Some(200) && host.exists(&database) {
            return Ok(());
        }
        wait.pause(container.as_ref(), &seen, last.unwrap_or_default()).map_err(|error| match seen.web {
            Some(300..400) => Error {
                message: "the server has not taken its first settings over: its page leads to the setup".into(),
                ..error
            },
            _ => error,
        })?;
    }
}

/// Waits until the container is proven to be what was asked for, or says why it is not. Changes nothing;
/// `report` is told what is waited for.
pub fn prove(host: &Host, config: &Config, report: Option<&Report>, interface: &str) -> Result<Seen> {
    let mut wait = Wait::new(host, config, report, Some(interface));
    loop {
        let (container, last) = engine::observe(host, &config.container.name).unzip();
        let seen = container.as_ref().map(|c| look(host, config, c)).unwrap_or_default();
        if seen.healthy && seen.udp && seen.interface.as_deref() == Some(interface) && seen.web.is_some_and(|s| s < 400)
        {
            return Ok(seen);
        }
        wait.pause(container.as_ref(), &seen, last.unwrap_or_default())?;
    }
}

/// A failure of compose or the engine, with its likely cause.
pub(super) fn explained(error: Error, said: &str) -> Error {
    let known = known::likely(said);
    if known.is_empty() {
        return error
            .remedy("what it says names the cause; `docker compose up` in the container's directory shows all");
    }
    let said = error.cause.clone().unwrap_or_default();
    let remedy = remedies(&known);
    error.cause(format!("{}\n{said}", causes(&known)).trim_end().to_string()).remedy(remedy)
}

fn page(host: &Host, config: &Config, container: &Container, path: &str) -> Option<u16> {
    host.http_status(&format!("http://{}:{}/{path}", container.address, config.server.web_port))
}

fn look(host: &Host, config: &Config, container: &Container) -> Seen {
    let table = |file| host.read_text(format!("/proc/{}/net/{file}", container.pid)).unwrap_or_default();
    let bound = |file| parse_sockets(&table(file), "07").iter().any(|(port, _)| *port == config.server.port);
    let running = container.running && container.pid != 0;
    let healthy = container.health == "healthy";
    Seen {
        healthy,
        interface: container.interface.clone(),
        udp: running && (bound("udp") || bound("udp6")),
        // Asked last: it is the slowest of them.
        web: if healthy { page(host, config, container, "") } else { None },
    }
}

/// One wait for a container.
struct Wait<'a> {
    host: &'a Host,
    config: &'a Config,
    report: Option<&'a Report<'a>>,
    /// The kind of interface that is waited for, where one is.
    interface: Option<&'a str>,
    began: Instant,
    stopped: Option<Instant>,
    unhealthy: Option<Instant>,
    /// How it ended when it was last seen down: while it runs, the engine does not tell any more.
    ended: LastState,
    told: Option<(Instant, String)>,
}

impl<'a> Wait<'a> {
    fn new(host: &'a Host, config: &'a Config, report: Option<&'a Report<'a>>, interface: Option<&'a str>) -> Wait<'a> {
        let began = Instant::now();
        Wait {
            host,
            config,
            report,
            interface,
            began,
            stopped: None,
            unhealthy: None,
            ended: LastState::default(),
            told: None,
        }
    }

    /// A second, unless the run is asked to stop or waiting longer cannot help.
    fn pause(&mut self, container: Option<&Container>, seen: &Seen, mut last: LastState) -> Result<()> {
        self.host.go_on()?;
        let tells = |state: &LastState| state.exit_code != 0 || state.oom_killed;
        if tells(&last) {
            self.ended = last.clone();
        } else {
            (last.exit_code, last.oom_killed) = (self.ended.exit_code, self.ended.oom_killed);
        }
        if self.hopeless(container) {
            return Err(self.failure(container, seen, &last));
        }
        self.tell(container, seen);
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// A fake root does not change by waiting.
    fn hopeless(&mut self, container: Option<&Container>) -> bool {
        let now = Instant::now();
        let since = |mark: &mut Option<Instant>, holds: bool| {
            *mark = if holds { mark.or(Some(now)) } else { None };
            mark.map(|m| now - m).unwrap_or_default()
        };
        let stopped = since(&mut self.stopped, container.is_none_or(|c| !c.running && !c.restarting));
        let unhealthy = since(&mut self.unhealthy, container.is_some_and(|c| c.health == "unhealthy"));
        container.is_some_and(|c| c.restarts >= LOOP)
            || stopped > STOPPED
            || unhealthy > UNHEALTHY
            || self.began.elapsed() > READY
            || self.host.is_fake()
    }

    /// Says now and then what is waited for.
    fn tell(&mut self, container: Option<&Container>, seen: &Seen) {
        let Some(report) = self.report else { return };
        let state = state(container, seen);
        let due = match &self.told {
            None => self.began.elapsed() >= TELL,
            Some((at, before)) => at.elapsed() >= if *before == state { TELL_AGAIN } else { TELL },
        };
        if due {
            let text = format!("        waiting for the container ({} s): {state}", self.began.elapsed().as_secs());
            report.note(&text);
            self.told = Some((Instant::now(), state));
        }
    }

    fn failure(&self, container: Option<&Container>, seen: &Seen, last: &LastState) -> Error {
        let Said { lines, unread } = said(self.host, self.config);
        let (what, guess) = difference(self.config, self.interface, container, seen, last, self.began.elapsed());
        let mut evidence = vec![format!("seen: {}", state(container, seen))];
        if last.exit_code != 0 || last.oom_killed {
            let killed = if last.oom_killed { ", killed for want of memory" } else { "" };
            evidence.push(format!("its last exit: code {}{killed}", last.exit_code));
        }
        let secret = self.config.server.password.as_ref().map(|p| p.expose());
        for (of, said) in [("the engine says", &last.error), ("the health check says", &last.health_output)] {
            if !said.is_empty() {
                evidence.push(format!("{of}: {}", shown(said, secret)));
            }
        }
        let tail = &lines[lines.len().saturating_sub(SHOWN)..];
        if let Some(why) = unread {
            evidence.push(format!("what the container has said cannot be read: {why}"));
        } else if tail.is_empty() {
            evidence.push("the container has said nothing".into());
        } else {
            evidence.push(format!("{QUOTES}\n  {}", tail.join("\n  ")));
        }
        let mut known = known::likely(&format!("{}\n{}\n{}", lines.join("\n"), last.error, last.health_output));
        if container.is_some_and(|c| c.restarts < LOOP && c.running) && seen.interface.is_some() {
            // It got over what its log tells of earlier.
            known.clear();
        }
        let mut error = Error::step(what);
        let cause = if known.is_empty() { guess.0.map(|g| format!("likely: {g}")) } else { Some(causes(&known)) };
        error.cause = Some(cause.into_iter().chain(evidence).collect::<Vec<String>>().join("\n"));
        error.remedy(if known.is_empty() { guess.1 } else { remedies(&known) })
    }
}

/// One line of what is seen.
fn state(container: Option<&Container>, seen: &Seen) -> String {
    let Some(container) = container else { return "there is no container".into() };
    let run = match container {
        c if c.restarting => format!("restarting, {} times so far", c.restarts),
        c if !c.running => "stopped".to_string(),
        c if c.restarts > 0 => format!("running, restarted {} times", c.restarts),
        _ => "running".to_string(),
    };
    let health = if container.health.is_empty() { "none" } else { container.health.as_str() };
    let web = match seen.web {
        Some(status) => format!("status {status}"),
        None if seen.healthy => "no answer".into(),
        None => "not asked, or no answer".into(),
    };
    format!(
        "{run}; health {health}; wg0 {}; UDP port {}; web page: {web}",
        seen.interface.as_deref().unwrap_or("absent"),
        if seen.udp { "bound" } else { "not bound" },
    )
}

type Guess = (Option<String>, String);

/// What differs from what was asked for, in words; and what is likely where no known failure shows.
fn difference(
    config: &Config,
    wanted: Option<&str>,
    container: Option<&Container>,
    seen: &Seen,
    last: &LastState,
    waited: Duration,
) -> (String, Guess) {
    let (name, port, waited) = (&config.container.name, config.server.port, waited.as_secs());
    let logs = format!("`docker logs {name}` shows all that it has said");
    let guess = |cause: &str, remedy: &str| (Some(cause.to_string()), remedy.to_string());
    let unknown = (None, format!("the lines above say what it stumbled over; {logs}"));
    let Some(container) = container else {
        return (format!("the container {name} is gone"), (None, "somebody removed it: run this again".into()));
    };
    if container.restarts >= LOOP || container.restarting {
        let what = format!("the container restarts again and again ({} times)", container.restarts);
        let guess = match last.exit_code {
            _ if last.oom_killed => {
                guess("it is killed for want of memory", "use a machine with more memory, or add swap")
            }
            137 => guess(
                "it is killed from outside (SIGKILL): most often for want of memory",
                "see `dmesg | tail` and `free`",
            ),
            139 => guess("it crashes (segmentation fault)", "use another version of the image; see `dmesg | tail`"),
            126 | 127 => {
                guess("its program is missing or cannot be run", "set container.image to a wg-easy of major version 15")
            }
            _ => unknown,
        };
        return (what, guess);
    }
    if !container.running {
        return (
            format!("the container has stopped (exit code {}) and is not restarted", last.exit_code),
            guess("somebody stopped it while it started", "run this again"),
        );
    }
    match (&seen.interface, wanted) {
        (None, Some(wanted)) => {
            (format!("the container runs, and has no interface wg0 after {waited} s ({wanted} was wanted)"), unknown)
        }
        (Some(have), Some(wanted)) if have != wanted => (
            format!("the container's wg0 is {have}, and {wanted} was wanted"),
            match (have.as_str(), wanted) {
                ("tun", _) => guess(
                    "awg-quick has fallen back to the userspace program: the kernel module cannot be used",
                    "`lsmod | grep amneziawg` and `dmesg | tail` tell why",
                ),
                ("amneziawg", "tun") => guess(
                    "the kernel module is loaded on this host, so that awg-quick uses it",
                    "modprobe -r amneziawg, or choose mode: kernel",
                ),
                _ => guess(
                    "EXPERIMENTAL_AWG or OVERRIDE_AUTO_AWG has another value",
                    "run this again: the file is written anew",
                ),
            },
        ),
        _ if !seen.udp => (
            format!("nothing in the container listens on UDP port {port} after {waited} s"),
            guess(
                "the server's database has another port: INIT_PORT counts at the first start only",
                "set server.port to the port of the admin page, or that one to server.port",
            ),
        ),
        _ if container.health == "starting" => {
            (format!("the container's health is still not known after {waited} s"), unknown)
        }
        _ if !seen.healthy && wanted.is_some() => (
            format!("the container's health check fails ({})", container.health),
            guess("the tunnel's tool in the container does not see wg0", &logs),
        ),
        _ => (
            match seen.web {
                Some(status) => format!("the web page answers with status {status}"),
                None => format!("the web page does not answer on port {} after {waited} s", config.server.web_port),
            },
            guess(
                "the server hangs, or its first start has not ended",
                &format!("look at `docker logs {name}`; on a slow machine run this again"),
            ),
        ),
    }
}
