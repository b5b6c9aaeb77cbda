//! The image and the container: pull, create, and prove what runs.

mod known;
mod ready;

use std::time::{Duration, Instant};

use xshell::{Cmd, cmd};

use crate::bundle;
use crate::config::Config;
use crate::daemon;
use crate::error::{Error, Result};
use crate::facts::engine;
use crate::host::{Host, Limits};

pub use ready::{Seen, first_start, prove};

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

/// Right after a boot our container is there and not ready yet: that is no difference to be mended.
pub fn wait_for_start(host: &Host, name: &str) {
    let began = Instant::now();
    let starting = || engine::container(host, name).is_some_and(|c| c.health == "starting" && c.restarts < LOOP);
    while !host.is_fake() && starting() && began.elapsed() < ready::READY && host.stop_requested().is_none() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Fetches the image and checks that it fits this machine.
pub fn pull(host: &Host, image: &str, arch: &str, again: bool) -> Result<()> {
    let sh = host.shell();
    if again {
        // The engine believes in layers that a power cut has emptied; what is in use stays.
        host.ask(cmd!(sh, "docker image rm {image}"), Limits::seconds(120));
    }
    let bundled = bundle::opened(host).and_then(|b| b.image_file().filter(|_| b.holds_image(image)));
    let out = match bundled.map(|file| host.path(file)) {
        Some(file) => host.ask(cmd!(sh, "docker load --quiet --input {file}"), Limits::seconds(1800)),
        None => host.ask(cmd!(sh, "docker pull --quiet {image}"), Limits::seconds(1800)),
    };
    if !out.ok() {
        return Err(out.error(format!("pulling {image} failed")).remedy(
            "check the name, the network and whether the registry asks for a login; nothing was restarted, run this again afterwards",
        ));
    }
    let got =
        engine::image(host, image).ok_or_else(|| Error::step(format!("{image} was pulled and cannot be inspected")))?;
    let wanted = engine::platform(arch);
    if got.architecture != wanted {
        return Err(Error::step(format!("{image} is for {}, this machine needs {wanted}", got.architecture))
            .remedy("name an image for this architecture"));
    }
    Ok(())
}

/// Creates or recreates the container from the compose file.
pub fn up(host: &Host, config: &Config) -> Result<()> {
    let directory = config.container.directory.to_string();
    let compose = engine::compose(host);
    if compose.is_empty() {
        return Err(Error::step("docker compose does not work").remedy("install the package docker-cli-compose"));
    }
    host.make_dirs(format!("{directory}/data"), 0o700)?;
    let check = compose_command(host, &compose, &directory).arg("config").arg("--quiet");
    host.run(check, Limits::seconds(60), "checking the compose file")?;
    let up = || {
        let up = compose_command(host, &compose, &directory).arg("up").arg("--detach");
        host.ask(up, Limits::seconds(600))
    };
    let mut out = up();
    // The engine keeps the port of a container that went with the power until it starts anew. Containers of
    // somebody else's are not stopped for that.
    if !out.ok()
        && out.tail(20).contains("port is already allocated")
        && daemon::is_serviced(host)
        && engine::runs_only(host, &config.container.name)
    {
        daemon::restart(host)?;
        out = up();
    }
    if out.ok() {
        return Ok(());
    }
    Err(ready::explained(out.error("creating the container failed"), &out.tail(20)))
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
