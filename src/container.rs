//! The image and the container: pull, create, and prove what runs.

use std::time::{Duration, Instant};

use xshell::{Cmd, cmd};

use crate::bundle;
use crate::config::Config;
use crate::daemon;
use crate::error::{Error, Result};
use crate::facts::network::parse_sockets;
use crate::facts::{Container, engine};
use crate::host::{Host, Limits};

/// A slow machine needs a while to unpack, migrate and start.
const READY: Duration = Duration::from_secs(300);
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
    while !host.is_fake() && starting() && began.elapsed() < READY && host.stop_requested().is_none() {
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
        // Made anew even where the compose file is the same: a file that is mounted may have been replaced, and
        // restarts that are over must not count against what comes now.
        let up = compose_command(host, &compose, &directory).arg("up").arg("--detach").arg("--force-recreate");
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
    if out.ok() { Ok(()) } else { Err(explain(out.error("creating the container failed"), &out.tail(20))) }
}

/// What a proof saw; each part must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub healthy: bool,
    pub interface: Option<String>,
    pub udp: bool,
    pub web: Option<u16>,
}

/// Ends a restart loop; the container stays, to be looked at. Says whether there was one.
pub fn end_restart_loop(host: &Host, name: &str) -> bool {
    let looping = engine::container(host, name).is_some_and(|c| c.restarts >= LOOP && (c.restarting || !c.running));
    let sh = host.shell();
    looping && host.ask(cmd!(sh, "docker stop {name}"), Limits::seconds(60)).ok()
}

/// Waits until the server has made its database and answers: its first-start settings are in there.
pub fn first_start(host: &Host, config: &Config) -> Result<()> {
    let name = config.container.name.to_string();
    let database = format!("{}/data/wg-easy.db", config.container.directory);
    let began = Instant::now();
    loop {
        host.go_on()?;
        let container = engine::container(host, &name);
        let web = container.as_ref().and_then(|c| web(host, config, c));
        if web.is_some_and(|status| status < 400) && host.exists(&database) {
            return Ok(());
        }
        if gave_up(host, container.as_ref(), began) {
            let seen = Seen { web, ..Seen::default() };
            return Err(not_ready(host, &name, "amneziawg or tun", &seen, container.as_ref(), began.elapsed()));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Waits until the container is proven to be what was asked for, or says why it is not.
pub fn prove(host: &Host, config: &Config, interface: &str) -> Result<Seen> {
    let name = config.container.name.to_string();
    let began = Instant::now();
    loop {
        host.go_on()?;
        let container = engine::container(host, &name);
        let seen = container.as_ref().map(|c| look(host, config, c)).unwrap_or_default();
        if seen.healthy && seen.udp && seen.interface.as_deref() == Some(interface) && seen.web.is_some_and(|s| s < 400)
        {
            return Ok(seen);
        }
        if gave_up(host, container.as_ref(), began) {
            return Err(not_ready(host, &name, interface, &seen, container.as_ref(), began.elapsed()));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Waiting longer cannot help, or has helped for too long. A fake root does not change by waiting.
fn gave_up(host: &Host, container: Option<&Container>, began: Instant) -> bool {
    container.is_some_and(|c| c.restarts >= LOOP) || began.elapsed() > READY || host.is_fake()
}

fn web(host: &Host, config: &Config, container: &Container) -> Option<u16> {
    host.http_status(&format!("http://{}:{}/", container.address, config.server.web_port))
}

fn look(host: &Host, config: &Config, container: &Container) -> Seen {
    let table = |file| host.read_text(format!("/proc/{}/net/{file}", container.pid)).unwrap_or_default();
    let bound = |file| parse_sockets(&table(file), "07").iter().any(|(port, _)| *port == config.server.port);
    let healthy = container.health == "healthy";
    Seen {
        healthy,
        interface: container.interface.clone(),
        udp: bound("udp") || bound("udp6"),
        // Asked last: it is the slowest of them.
        web: if healthy { web(host, config, container) } else { None },
    }
}

fn not_ready(
    host: &Host,
    name: &str,
    interface: &str,
    seen: &Seen,
    container: Option<&Container>,
    waited: Duration,
) -> Error {
    let sh = host.shell();
    let yes = |b: bool| if b { "yes" } else { "no" };
    let logs = host.ask(cmd!(sh, "docker logs --tail 15 {name}"), Limits::seconds(20));
    let log = format!("{}{}", logs.stdout, logs.stderr);
    let (health, restarts) = container.map_or(("absent", 0), |c| (c.health.as_str(), c.restarts));
    let what = if restarts >= LOOP {
        format!("the container restarts again and again ({restarts} times)")
    } else {
        format!("the container is not what was asked for after {} s", waited.as_secs())
    };
    let facts = format!(
        "health {health:?}; wg0 is {} (wanted {interface}); UDP port bound: {}; web page: {}\nlast lines of the container:\n{}",
        seen.interface.as_deref().unwrap_or("absent"),
        yes(seen.udp),
        seen.web.map_or("no answer".to_string(), |s| format!("status {s}")),
        log.trim_end()
    );
    explain(Error::step(what).cause(facts), &log)
}

/// Known failures and what to do about each.
const KNOWN: &[(&str, &str)] = &[
    (
        "awg-install: ip",
        "the packet filter in the container cannot be set up, and no server runs without: see the line above, and `lsmod | grep -e ip_tables -e nf_tables`",
    ),
    (
        "can't initialize iptables table",
        "the host lacks the iptables-legacy tables: modprobe ip_tables iptable_nat iptable_filter ip6_tables ip6table_nat ip6table_filter",
    ),
    (
        "Table does not exist",
        "the host lacks the iptables-legacy tables: modprobe ip_tables iptable_nat iptable_filter ip6_tables ip6table_nat ip6table_filter",
    ),
    ("Cannot find device \"wg0\"", "the interface could not be made: check `lsmod | grep amneziawg` and /dev/net/tun"),
    ("Unknown device type", "the kernel module is not loaded: modprobe amneziawg"),
    ("/dev/net/tun", "the container cannot use /dev/net/tun: modprobe tun"),
    ("port is already allocated", "another container has the port: set server.port to a free one"),
    ("address already in use", "another program has the port: set server.port or server.web_port to a free one"),
    ("disable_ipv6", "IPv6 is switched off on this host: set network.ipv6: off"),
    ("Pool overlaps with other", "the network 10.42.42.0/24 is in use on this host"),
];

fn explain(error: Error, log: &str) -> Error {
    match KNOWN.iter().find(|(sign, _)| log.contains(sign)) {
        Some((_, remedy)) => error.remedy(*remedy),
        None => error.remedy("the log above says what it stumbled over; `docker logs` has the whole"),
    }
}
