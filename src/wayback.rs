//! The way back of an upgrade or a changed configuration: image, module, files and data as one set.
//!
//! The rule. What ran is written to the receipt before anything of it is changed, and stays there until its
//! successor is proven. Where the successor fails:
//!
//! - on the kernel that ran before, in the mode that it worked in, image or module are at fault, and the whole set
//!   goes back at once;
//! - where the kernel is another one, or the mode was a lower one, the kernel's rung is ruled out first, as in an
//!   installation, and the new image has its chance on the next rung; only when no rung is left does the set go
//!   back, to the best mode that the kernel that runs by then allows. A kernel is not switched back: the trial boot
//!   has done that where it had to be done.
//!
//! A run that was cut off is gone on with by the next `install` or `upgrade`. Where none comes before the next boot,
//! the guard goes back: a container that was stopped by us is not started by the engine. A way back that was begun is
//! gone to its end before anything else.

use xshell::cmd;

use crate::backup::{self, Order, aside};
use crate::change;
use crate::config::{self, Config, Sources};
use crate::container;
use crate::error::{Error, Result};
use crate::facts::{Container, engine, kernel::EXTRA};
use crate::host::{Host, Limits};
use crate::module;
use crate::owned::{CONFIG, MODULES_LOAD, Owned, Rung, SYSCTL};
use crate::receipt::{Change, Receipt, State, WAY_BACK, Was, WayBack};
use crate::report::Report;
use crate::step::Step;

/// The data as it was before the new container, beside it.
const ASIDE: &str = "data.way-back";

/// Remembers what runs. Nothing has been changed yet.
pub fn remember(host: &Host, config: &Config, container: Option<&Container>, receipt: &mut Receipt) -> Result<()> {
    let Some(container) = container.filter(|_| receipt.way_back.is_none()) else { return Ok(()) };
    host.remove_tree(WAY_BACK)?;
    let then = stored(host).unwrap_or_else(|| config.clone());
    let mut way = WayBack {
        image: then.container.image.to_string(),
        image_id: container.image.clone(),
        release: host.release(),
        interface: container.interface.clone(),
        mode: receipt.mode.clone(),
        proven: receipt.proven.clone(),
        ..WayBack::default()
    };
    let rendered = [Owned::Compose, Owned::Environment, Owned::Start, Owned::Firewall, Owned::Caddyfile];
    let rendered = rendered.map(|o| o.path(config));
    for path in rendered.iter().map(String::as_str).chain([CONFIG, MODULES_LOAD, SYSCTL]) {
        keep(host, &mut way, path)?;
        way.written.extend(receipt.written.get_key_value(path).map(|(k, v)| (k.clone(), v.clone())));
    }
    // A rollback takes an image of an earlier version away as well, and with the data its copy.
    let mut prior = vec![Change::Data { path: format!("{}/{ASIDE}", config.container.directory) }];
    if receipt.pulled(&way.image) {
        prior.push(Change::Image { reference: way.image_id.clone() });
    }
    receipt.begin(&Step::WayBack.id(), prior);
    receipt.way_back = Some(way);
    receipt.save(host)
}

/// Nothing else may change the data while what leads back is not settled: it would be gone back from.
pub fn refuse_unfinished(receipt: Option<&Receipt>) -> Result<()> {
    if receipt.is_none_or(|r| r.way_back.is_none()) {
        return Ok(());
    }
    Err(Error::host("an upgrade was begun and is not finished").remedy("run `awg-install install` first"))
}

/// What a step is about to change of what is gone back to, written ahead.
pub fn ahead(host: &Host, config: &Config, step: &Step, receipt: &mut Receipt) -> Result<()> {
    let Some(mut way) = receipt.way_back.clone() else { return Ok(()) };
    let directory = config.container.directory.to_string();
    match step {
        Step::Module { release, .. } if *release == way.release => {
            let path = format!("/lib/modules/{release}/{EXTRA}");
            if is_kept(&way, &path) {
                return Ok(());
            }
            keep(host, &mut way, &path)?;
        }
        // Once the server has stopped: its last word is in the copy.
        Step::Compose if !way.touched => {
            let (sh, name) = (host.shell(), config.container.name.to_string());
            host.ask(cmd!(sh, "docker stop {name}"), Limits::seconds(60));
            aside::copy(host, &directory, ASIDE)?;
            way.copy = host.inode(format!("{directory}/{ASIDE}"));
            way.touched = true;
        }
        _ => return Ok(()),
    }
    receipt.way_back = Some(way);
    receipt.save(host)
}

/// The operator's own copy; what is gone back to is one of its own, which no key is needed for.
pub fn back_up(host: &Host, config: &Config, report: &Report, receipt: &mut Receipt) -> Result<()> {
    let taken = backup::take(host, config, Some(receipt), &Order::default())?;
    report.note(&format!("        {}, {} bytes", taken.file, taken.size));
    if let Some(way) = &mut receipt.way_back {
        way.backup = Some(taken.file);
    }
    receipt.save(host)
}

/// The successor is proven: the image it has replaced is kept, the one before that goes.
pub fn arrived(host: &Host, config: &Config, receipt: &mut Receipt) -> Result<()> {
    // Copies of a run that was cut off before it had written down what they are for go as well.
    let Some(way) = receipt.way_back.take() else { return tidy(host, config) };
    let now = engine::container(host, &config.container.name).map(|c| c.image);
    if now.is_some_and(|now| now != way.image_id) && receipt.pulled(&way.image) {
        receipt.images.retain(|id| *id != way.image_id);
        receipt.images.push(way.image_id);
        while receipt.images.len() > 1 {
            let oldest = receipt.images.remove(0);
            remove_image(host, &oldest);
        }
    }
    receipt.save(host)?;
    tidy(host, config)
}

/// Goes back, and proves that what ran before runs again. Doing it twice does no harm.
pub fn go_back(host: &Host, config: &Config, report: &Report, receipt: &mut Receipt, why: &str) -> Result<()> {
    let Some(mut way) = receipt.way_back.clone() else { return Ok(()) };
    if way.failed.is_none() {
        way.failed = Some(why.to_string());
        receipt.way_back = Some(way.clone());
        receipt.save(host)?;
    }
    report.note("going back to what ran before: image, module, files and data");
    let name = config.container.name.to_string();
    let directory = config.container.directory.to_string();
    let successor = engine::image(host, &config.container.image.to_string()).map(|i| i.id);
    let as_it_was = |c: &Container| c.running && c.image == way.image_id;
    let disturbed = way.touched || !engine::container(host, &name).as_ref().is_some_and(as_it_was);
    if disturbed {
        take_down(host, &directory, &name);
    }
    if way.touched {
        put_data_back(host, &directory, way.copy)?;
        way.touched = false;
        receipt.way_back = Some(way.clone());
        receipt.save(host)?;
    }
    put_files_back(host, &way, receipt)?;
    if way.image != way.image_id && !way.image.contains('@') && !way.image_id.is_empty() {
        let (sh, id, image) = (host.shell(), &way.image_id, &way.image);
        host.run(cmd!(sh, "docker tag {id} {image}"), Limits::seconds(60), "giving the image its name back")?;
    }
    let then = stored(host).unwrap_or_else(|| config.clone());
    let interface = interface(host, &way);
    let rules = Owned::Firewall.path(config);
    if host.exists(&rules) {
        change::place_rules(host, &rules)?;
    }
    if disturbed {
        if interface == Rung::Kernel.interface() {
            load(host, &way);
        }
        container::up(host, &then)?;
        let interface = self::interface(host, &way);
        let seen = container::prove(host, &then, None, interface)?;
        report.proof(interface, then.server.port, seen.web);
    }
    settle(receipt, &way);
    receipt.way_back = None;
    receipt.save(host)?;
    if let Some(image) = successor.filter(|id| *id != way.image_id) {
        remove_image(host, &image);
    }
    tidy(host, config)
}

/// The configuration as it is on the disk.
fn stored(host: &Host) -> Option<Config> {
    let text = host.read_text(CONFIG)?;
    config::load(&Sources { file: Some((CONFIG.into(), text)), ..Sources::default() }).ok().map(|l| l.config)
}

fn keep(host: &Host, way: &mut WayBack, path: &str) -> Result<()> {
    let copy = format!("{WAY_BACK}/{}", path.trim_start_matches('/').replace('/', "%"));
    let was = match host.read(path).zip(host.owner(path)) {
        None => Was::Absent,
        Some((bytes, owner)) => {
            host.make_dirs(WAY_BACK, 0o700)?;
            host.write(&copy, &bytes, 0o600)?;
            Was::Different { copy, owner }
        }
    };
    way.files.push(Change::File { path: path.into(), was });
    Ok(())
}

fn is_kept(way: &WayBack, path: &str) -> bool {
    way.files.iter().any(|c| matches!(c, Change::File { path: p, .. } if p == path))
}

/// Stopped first, so that the server ends by itself; then removed, whatever its compose file is like.
fn take_down(host: &Host, directory: &str, name: &str) {
    let sh = host.shell();
    host.ask(cmd!(sh, "docker stop {name}"), Limits::seconds(60));
    if change::undo(host, &Change::Project { directory: directory.into() }, false).is_err() {
        host.ask(cmd!(sh, "docker rm --force {name}"), Limits::seconds(60));
    }
}

/// Exchanges the data with its copy, once: which of the two directories is the copy tells whether that was done.
fn put_data_back(host: &Host, directory: &str, copy: Option<u64>) -> Result<()> {
    aside::mend(host, directory, ASIDE)?;
    if copy.is_some() && host.inode(format!("{directory}/data")) != copy {
        aside::exchange(host, directory, ASIDE)?;
    }
    Ok(())
}

/// Nothing leads back any more.
fn tidy(host: &Host, config: &Config) -> Result<()> {
    host.remove_tree(format!("{}/{ASIDE}", config.container.directory))?;
    host.remove_tree(WAY_BACK)
}

fn put_files_back(host: &Host, way: &WayBack, receipt: &mut Receipt) -> Result<()> {
    for file in &way.files {
        let Change::File { path, .. } = file else { continue };
        change::undo(host, file, false)?;
        // What was edited by hand counts as edited again.
        match way.written.get(path) {
            Some(written) => _ = receipt.written.insert(path.clone(), written.clone()),
            None => _ = receipt.written.remove(path),
        }
    }
    if is_kept(way, &format!("/lib/modules/{}/{EXTRA}", way.release)) {
        change::undo(host, &Change::Depmod { release: way.release.clone() }, false)?;
    }
    Ok(())
}

/// The kind of wg0 that the old container has on the kernel that runs now.
fn interface(host: &Host, way: &WayBack) -> &'static str {
    let wireguard = Rung::Wireguard.interface();
    let file = format!("/lib/modules/{}/{EXTRA}", host.release());
    match way.interface.as_deref() {
        Some(kind) if kind == wireguard => wireguard,
        _ if way.mode == Rung::Wireguard.as_str() => wireguard,
        _ if host.is_dir("/sys/module/amneziawg") => Rung::Kernel.interface(),
        Some(kind) if kind == Rung::Kernel.interface() && host.exists(file) => Rung::Kernel.interface(),
        _ => Rung::Userspace.interface(),
    }
}

/// The old build of the module, where another one has taken its place. One that cannot be loaded shows in the proof.
fn load(host: &Host, way: &WayBack) {
    let (sh, name) = (host.shell(), module::NAME);
    if is_kept(way, &format!("/lib/modules/{}/{EXTRA}", way.release)) {
        host.ask(cmd!(sh, "modprobe -r {name}"), Limits::seconds(60));
    }
    host.ask(cmd!(sh, "modprobe {name}"), Limits::seconds(60));
}

/// What the failed attempt has begun is not gone on with.
fn settle(receipt: &mut Receipt, way: &WayBack) {
    const KINDS: &[&str] = &["compose", "ready", "first-start", "pull:", "extract:", "load:", "prove:", "module:"];
    for entry in receipt.steps.iter_mut().filter(|e| e.state == State::Started) {
        if KINDS.iter().any(|kind| entry.id == *kind || kind.ends_with(':') && entry.id.starts_with(kind)) {
            entry.state = State::Done;
        }
    }
    receipt.proven = way.proven.clone();
    receipt.mode = way.mode.clone();
}

/// One that something still uses stays: that is no error.
fn remove_image(host: &Host, id: &str) {
    let sh = host.shell();
    host.ask(cmd!(sh, "docker image rm {id}"), Limits::seconds(120));
}
