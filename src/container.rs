//! The container: create it, and prove what runs.

mod known;
mod peers;
mod ready;
mod said;

use std::time::{Duration, Instant};

use xshell::{Cmd, cmd};

use crate::config::{Config, Web};
use crate::daemon;
use crate::error::{Error, Result};
use crate::facts::{self, Facts, engine};
use crate::host::{Host, Limits};

pub use peers::Peers;
pub use ready::{Seen, first_start, prove};
pub use said::{Said, said};

/// Restarts after which waiting longer cannot help.
const LOOP: u64 = 3;

/// `compose` with an explicit file, so that nothing in the environment or beside it has a say.
pub fn compose_command<'a>(host: &'a Host, compose: &str, directory: &str) -> Cmd<'a> {
    let mut words = compose.split(' ');
    let sh = host.shell();
    let file = host.path(format!("{directory}/compose.yaml"));
    let base = host.path(directory);
    sh.cmd(words.next().unwrap_or("docker")).args(words).arg("-f").arg(file).arg("--project-directory").arg(base)
}

/// Right after a boot the engine or our container may still be on its way: that is no difference to be mended, and is
/// waited for. Says whether there is something else to see than these facts.
pub fn came_up(host: &Host, name: &str, seen: &Facts) -> bool {
    let engine = !seen.engine.answers && daemon::wait_if_started(host);
    let starting = |c: &facts::Container| c.health == "starting" && c.restarts < LOOP;
    if !engine && !seen.container.as_ref().is_some_and(starting) {
        return false;
    }
    let began = Instant::now();
    while !host.is_fake()
        && engine::container(host, name).as_ref().is_some_and(starting)
        && began.elapsed() < ready::READY
        && host.stop_requested().is_none()
    {
        std::thread::sleep(Duration::from_secs(1));
    }
    true
}

/// Reads the compose file as the engine's client does, while the container before still runs.
pub fn check(host: &Host, config: &Config) -> Result<()> {
    let check = compose_command(host, &compose(host)?, &config.container.directory.to_string());
    host.run(check.arg("config").arg("--quiet"), Limits::seconds(60), "checking the compose file").map(drop)
}

/// Creates or recreates the container from the compose file.
pub fn up(host: &Host, config: &Config) -> Result<()> {
    let directory = config.container.directory.to_string();
    let compose = compose(host)?;
    host.make_dirs(format!("{directory}/data"), 0o700)?;
    if config.server.web == Web::Https {
        for kept in ["data", "config"] {
            host.make_dirs(format!("{directory}/caddy/{kept}"), 0o700)?;
        }
    }
    let up = || {
        // Made anew even where the compose file is the same: a file that is mounted may have been replaced, and
        // restarts that are over must not count against what comes now.
        let up = compose_command(host, &compose, &directory);
        let up = up.args(["up", "--detach", "--remove-orphans", "--force-recreate"]);
        host.ask(up, Limits::seconds(600))
    };
    let mut out = up();
    // The engine keeps the port of a container that went with the power until it starts anew. Containers of
    // somebody else's are not stopped for that.
    if !out.ok()
        && out.tail(20).contains("port is already allocated")
        && daemon::is_serviced(host)
        && engine::runs_only_ours(host, config)
    {
        daemon::restart(host)?;
        out = up();
    }
    if out.ok() {
        return Ok(());
    }
    Err(ready::explained(out.error("creating the container failed"), &out.tail(20)))
}

fn compose(host: &Host) -> Result<String> {
    match engine::compose(host) {
        none if none.is_empty() => {
            Err(Error::step("docker compose does not work").remedy("install the package docker-cli-compose"))
        }
        compose => Ok(compose),
    }
}

/// For a run that ends with this error: nobody is left to look after a container that only crashes.
pub fn given_up(host: &Host, config: &Config, error: Error) -> Error {
    let name = config.container.name.to_string();
    if !end_restart_loop(host, &name) {
        return error;
    }
    let said = error.remedy.clone().map(|r| format!("{r}\n")).unwrap_or_default();
    error.remedy(format!(
        "{said}{name} is stopped now, or it would be restarted for ever: `docker start {name}` starts it"
    ))
}

/// Ends a restart loop; the container stays, to be looked at. Says whether there was one.
pub fn end_restart_loop(host: &Host, name: &str) -> bool {
    // Between two crashes it runs for a moment.
    let looping = engine::container(host, name).is_some_and(|c| c.restarts >= LOOP && c.health != "healthy");
    let sh = host.shell();
    looping && host.ask(cmd!(sh, "docker stop {name}"), Limits::seconds(120)).ok()
}
