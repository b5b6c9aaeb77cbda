//! The proof that module, tools and image belong together: two throw-away interfaces, configured with the
//! image's own `awg`, with a handshake and a ping between them.
//!
//! It runs in one container without a network and with no right but those over its own interfaces; everything goes
//! when it goes.

use xshell::cmd;

use crate::daemon;
use crate::error::{Error, Result};
use crate::facts::engine;
use crate::facts::kernel::installed_module;
use crate::host::{Host, Limits, Output};
use crate::receipt::Proven;

/// What happens in the container.
const SCRIPT: &str = include_str!("../templates/proof.sh");
const NAME: &str = "awg-install-proof";
/// Packets from an address of the container's own are let in; the routes they come by are not theirs to go back.
const SYSCTLS: [&str; 3] =
    ["net.ipv4.conf.all.accept_local=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"];
/// What the engine's client ends with where it could not start the container at all (docker-run(1), "Exit status").
const NOT_STARTED: i32 = 125;

/// What was seen to work.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    pub proven: Proven,
    /// Seconds since 1970 of the handshake, as the far end tells it.
    pub handshake: u64,
}

/// Proves the module that is loaded on `release` against `image`. Needs seconds, and leaves nothing.
///
/// # Errors
/// Which part does not work, with what it said.
pub fn prove(host: &Host, image: &str, release: &str) -> Result<Proof> {
    let id = engine::image(host, image).map(|i| i.id).unwrap_or_default();
    let loaded = host.read_trimmed("/sys/module/amneziawg/srcversion");
    if !host.is_dir("/sys/module/amneziawg") {
        return Err(Error::step("the amneziawg module is not loaded").remedy("see `dmesg | grep amneziawg`"));
    }
    let wanted = installed_module(host, release).and_then(|m| m.srcversion);
    if let (Some(wanted), Some(loaded)) = (&wanted, &loaded)
        && wanted != loaded
    {
        return Err(Error::step(format!("another build of the module is loaded: srcversion {loaded}, not {wanted}"))
            .remedy("something else has loaded it; restart the host, then run this again"));
    }
    // One that an earlier proof has left.
    daemon::remove_container(host, NAME);
    let handshake = tunnel(host, image);
    // One that was cut short by its time limit goes on without us.
    daemon::remove_container(host, NAME);
    Ok(Proof { proven: Proven { release: release.into(), srcversion: loaded, image: id }, handshake: handshake? })
}

fn tunnel(host: &Host, image: &str) -> Result<u64> {
    let sh = host.shell();
    let rights = ["--network", "none", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
    let sysctls = SYSCTLS.iter().flat_map(|value| ["--sysctl", value]);
    let run =
        cmd!(sh, "docker run --rm --name {NAME} {rights...} {sysctls...} --entrypoint /bin/sh {image} -c {SCRIPT}");
    let out = host.ask(run, Limits::seconds(120));
    let handshake = out.stdout.lines().filter_map(|l| l.split_whitespace().nth(1)?.parse().ok()).next_back();
    match handshake.filter(|at: &u64| out.ok() && *at > 0) {
        Some(at) => Ok(at),
        None => Err(explain(&out, image)),
    }
}

fn explain(out: &Output, image: &str) -> Error {
    let came_to = |mark: &str| out.stdout.lines().any(|l| l == mark);
    if came_to("routed") {
        return out
            .error("no packet comes through a tunnel of this module")
            .remedy("the module does not work on this kernel: give another build of it");
    }
    if came_to("configured") {
        return out.error("the proof's own interfaces cannot be set up");
    }
    if came_to("made") {
        return out
            .error(format!(
                "the module and the `awg` of {image} are not of one generation: it cannot configure the interface"
            ))
            .remedy(
                "give a module of the image's generation (`awg --version` in the image), or an image of the module's",
            );
    }
    if out.code == NOT_STARTED {
        return out.error("the container to prove the module in cannot be started");
    }
    out.error("the module makes no interface of the kind amneziawg")
}
