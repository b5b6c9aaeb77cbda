//! The proof that module, tools and image belong together: two throw-away interfaces, configured with the
//! image's own `awg`, in two network namespaces, with a handshake and a ping between them.
//!
//! It runs in two containers without a network and with no right but those over their own interfaces;
//! everything goes when they go.

use xshell::cmd;

use crate::error::{Error, Result};
use crate::facts::engine;
use crate::facts::kernel::installed_module;
use crate::host::{Host, Limits, Output};
use crate::receipt::Proven;

/// What happens in the first container.
const SCRIPT: &str = include_str!("../templates/proof.sh");
/// And in the second one, which the other interface is given to.
const FAR: &str = "ip address add 10.254.254.2/32 dev proof1 && ip link set dev proof1 up && \
                   ip route add 10.254.254.1/32 dev proof1 && \
                   ping -c 1 -W 5 10.254.254.1 >/dev/null || ping -c 1 -W 5 10.254.254.1 && \
                   awg show proof1 latest-handshakes";
const NEAR_NAME: &str = "awg-install-proof-0";
const FAR_NAME: &str = "awg-install-proof-1";

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
    remove(host);
    let handshake = tunnel(host, image);
    remove(host);
    Ok(Proof { proven: Proven { release: release.into(), srcversion: loaded, image: id }, handshake: handshake? })
}

fn tunnel(host: &Host, image: &str) -> Result<u64> {
    let sh = host.shell();
    let start = |name: &str, more: &[String], seconds: &str| {
        let rights = ["--network", "none", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
        let run =
            cmd!(sh, "docker run --detach --name {name} {rights...} {more...} --entrypoint sleep {image} {seconds}");
        host.run(run, Limits::seconds(60), "starting a container to prove the module in").map(drop)
    };
    start(NEAR_NAME, &[], "120")?;
    // The first one must be able to name the second one's process.
    start(FAR_NAME, &["--pid".into(), format!("container:{NEAR_NAME}")], "121")?;
    let near = host.ask(cmd!(sh, "docker exec {NEAR_NAME} sh -c {SCRIPT}"), Limits::seconds(60));
    if !near.ok() {
        return Err(explain(&near, image));
    }
    let far = host.ask(cmd!(sh, "docker exec {FAR_NAME} sh -c {FAR}"), Limits::seconds(60));
    let handshake = far.stdout.lines().filter_map(|l| l.split_whitespace().last()?.parse().ok()).next_back();
    match handshake.filter(|at: &u64| far.ok() && *at > 0) {
        Some(at) => Ok(at),
        None => Err(far
            .error("no packet comes through a tunnel of this module")
            .remedy("the module does not work on this kernel: give another build of it")),
    }
}

fn explain(out: &Output, image: &str) -> Error {
    let came_to = |mark: &str| out.stdout.lines().any(|l| l == mark);
    if came_to("parted") || came_to("configured") {
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
    out.error("the module makes no interface of the kind amneziawg")
}

fn remove(host: &Host) {
    let sh = host.shell();
    host.ask(cmd!(sh, "docker rm --force {FAR_NAME} {NEAR_NAME}"), Limits::seconds(60));
}
