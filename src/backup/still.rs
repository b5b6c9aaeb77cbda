//! The container stands still while its files are copied, and goes on whatever happens to this program.
//!
//! Why a pause is enough: the engine's pause freezes every process of the container between two instructions,
//! and what they have written up to then is what a reader sees. Database, write-ahead log and all else that is
//! copied during the freeze are therefore the files as they would be had the server been killed at that
//! instant. SQLite promises to recover from exactly that: a commit that was answered lies whole in the log (or
//! already in the database), one that was under way is not closed by a commit frame and is dropped, and a
//! half-done transfer from log to database is done again from the log, which is only begun anew once it is
//! complete. It is more than a power cut leaves, since nothing that was written is missing. The index beside
//! the log (`-shm`) is made anew from it and is not kept. A stop would lose the tunnel for seconds; in the
//! kernel mode a pause does not touch it, and in userspace packets wait for the moment that it lasts.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::host::{Host, Reply};
use crate::receipt::STATE_DIR;

/// Says what was done to which container, from before it is done until it is undone.
pub(super) const MARK: &str = "/var/lib/awg-install/still";

/// What the container does as far as its files are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Stopped,
    Runs,
    Paused,
    /// It crashes, and the engine starts it again at any moment.
    Restarts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Pause,
    Stop,
}

/// A container that stands still until this is released or dropped.
pub(super) struct Still<'a> {
    host: &'a Host,
    name: String,
    how: Option<How>,
    found: State,
    since: Instant,
}

impl Still<'_> {
    /// Pauses a container that runs; stops one that only crashes, or that cannot be paused.
    pub(super) fn hold<'a>(host: &'a Host, name: &str) -> Result<Still<'a>> {
        let found = state(host, name)?;
        let mut still = Still { host, name: name.into(), how: None, found, since: Instant::now() };
        if found == State::Runs {
            still.act(How::Pause)?;
            if accepted(&host.engine_do(&format!("/containers/{name}/pause"))) {
                return Ok(still);
            }
            // The engine cannot freeze here, or it has just crashed.
            still.release_quietly();
        }
        if matches!(found, State::Runs | State::Restarts) {
            still.act(How::Stop)?;
            let stopped = host.engine_do(&format!("/containers/{name}/stop"));
            if !accepted(&stopped) {
                return Err(refused(name, "stopped", &stopped));
            }
        }
        Ok(still)
    }

    fn act(&mut self, how: How) -> Result<()> {
        self.host.make_dirs(STATE_DIR, 0o700)?;
        let word = if how == How::Pause { "pause" } else { "stop" };
        self.host.write(MARK, format!("{word} {}\n", self.name).as_bytes(), 0o600)?;
        (self.how, self.since) = (Some(how), Instant::now());
        Ok(())
    }

    /// An error where somebody else has let it go on meanwhile.
    pub(super) fn held(&self) -> Result<()> {
        let wanted = match self.how {
            Some(How::Pause) => State::Paused,
            Some(How::Stop) => State::Stopped,
            None => self.found,
        };
        if state(self.host, &self.name)? == wanted {
            return Ok(());
        }
        Err(Error::step(format!("the container {} went on while its files were copied", self.name))
            .cause("somebody started or resumed it; the copy may be of two moments and is not kept")
            .remedy("run this again"))
    }

    /// Lets it go on. Says how long it stood still because of us.
    pub(super) fn release(mut self) -> Result<Duration> {
        let Some(how) = self.how.take() else { return Ok(Duration::ZERO) };
        go_on(self.host, &self.name, how)?;
        Ok(self.since.elapsed())
    }

    fn release_quietly(&mut self) {
        if let Some(how) = self.how.take() {
            let _ = go_on(self.host, &self.name, how);
        }
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.release_quietly();
    }
}

/// Lets a container go on that a run which was killed has left standing. Says its name.
pub fn settle(host: &Host) -> Result<Option<String>> {
    let Some(mark) = host.read_trimmed(MARK) else { return Ok(None) };
    let how = match mark.split_once(' ') {
        Some(("pause", name)) => Some((How::Pause, name)),
        Some(("stop", name)) => Some((How::Stop, name)),
        _ => None,
    };
    let Some((how, name)) = how else { return host.remove_file(MARK).map(|()| None) };
    go_on(host, name, how)?;
    Ok(Some(name.into()))
}

fn go_on(host: &Host, name: &str, how: How) -> Result<()> {
    let (verb, before) = if how == How::Pause { ("unpause", State::Paused) } else { ("start", State::Stopped) };
    for attempt in 0.. {
        // What was resumed already, or is gone, needs nothing.
        if state(host, name)? != before {
            break;
        }
        let reply = host.engine_do(&format!("/containers/{name}/{verb}"));
        if accepted(&reply) {
            break;
        }
        if attempt == 2 {
            let done = if how == How::Pause { "resumed" } else { "started" };
            return Err(refused(name, done, &reply).remedy(format!("run `docker {verb} {name}`")));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    host.remove_file(MARK)
}

/// Stops the container for longer: whoever does that has a record of its own.
pub(super) fn stop(host: &Host, name: &str) -> Result<()> {
    let verb = match state(host, name)? {
        State::Absent | State::Stopped => return Ok(()),
        State::Paused => {
            let reply = host.engine_do(&format!("/containers/{name}/unpause"));
            if !accepted(&reply) {
                return Err(refused(name, "resumed", &reply));
            }
            "stop"
        }
        State::Runs | State::Restarts => "stop",
    };
    let reply = host.engine_do(&format!("/containers/{name}/{verb}"));
    if accepted(&reply) { Ok(()) } else { Err(refused(name, "stopped", &reply)) }
}

/// Starts a stopped container; says whether there is one.
pub(super) fn start(host: &Host, name: &str) -> Result<bool> {
    if state(host, name)? == State::Absent {
        return Ok(false);
    }
    let reply = host.engine_do(&format!("/containers/{name}/start"));
    if accepted(&reply) { Ok(true) } else { Err(refused(name, "started", &reply)) }
}

pub(super) fn state(host: &Host, name: &str) -> Result<State> {
    let container = inspect(host, name)?;
    let is = |key: &str| container["State"][key].as_bool().unwrap_or(false);
    Ok(match container {
        Value::Null => State::Absent,
        _ if is("Paused") => State::Paused,
        _ if is("Restarting") => State::Restarts,
        _ if is("Running") => State::Runs,
        _ => State::Stopped,
    })
}

/// What the engine says of the container; nothing where there is none, or no engine at all.
pub(super) fn inspect(host: &Host, name: &str) -> Result<Value> {
    let why = match host.engine_get(&format!("/containers/{name}/json")) {
        Reply::Answer(200..=299, container) => return Ok(container),
        Reply::Answer(404, _) => return Ok(Value::Null),
        Reply::Absent if host.which("docker").is_none() => return Ok(Value::Null),
        // Containers can outlive the engine that has started them.
        Reply::Absent => "nothing listens on its socket".into(),
        Reply::Answer(status, _) => format!("it answered with status {status}"),
        Reply::Silent(why) => why,
    };
    Err(Error::step("the container engine does not answer")
        .cause(format!("{why}; whether the server writes to its files cannot be known"))
        .remedy("start it (rc-service docker start), then run this again"))
}

/// Done, or nothing left to do.
fn accepted(reply: &Reply) -> bool {
    matches!(reply, Reply::Answer(200..=299 | 304, _))
}

fn refused(name: &str, done: &str, reply: &Reply) -> Error {
    let why = match reply {
        Reply::Answer(status, said) => {
            format!("the engine answered with status {status}: {}", said["message"].as_str().unwrap_or("no reason"))
        }
        Reply::Absent => "the engine does not answer".into(),
        Reply::Silent(why) => why.clone(),
    };
    Error::step(format!("the container {name} cannot be {done}")).cause(why).remedy("look at /var/log/docker.log")
}
