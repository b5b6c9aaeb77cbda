//! Looking into the container image: its programs, and a module that it may bring along. The image's own
//! program is not run for that.

use xshell::cmd;

use crate::error::{Error, Result};
use crate::facts::image::{Contents, Kept, contents, place};
use crate::facts::{SCHEMA, engine};
use crate::host::{Host, Limits, files::sha256};
use crate::module;
use crate::owned::{Backend, Rung};
use crate::preflight::{image_lacks, lacking, wanted};

/// Where images keep modules, and what says which kernel they are for.
const MODULES: &str = "/lib/modules";
const VERSION: &str = "/etc/amneziawg-kernel-version.txt";
/// The container that the image is opened as; it is never started.
const OPENED: &str = "awg-install-look";
/// How many module files are taken.
const MODULES_LIMIT: usize = 16;

/// Looks into the image and keeps what was found. `fit`: what it must be fit for, where that is decided.
pub fn look(host: &Host, image: &str, fit: Option<(Rung, Backend)>) -> Result<()> {
    let found = engine::image(host, image)
        .ok_or_else(|| Error::step(format!("{image} is not there")).remedy("run this again: it is pulled then"))?;
    let known = match contents(host, &found.id) {
        Some(known) => known,
        None => {
            let directory = place(&found.id);
            // An earlier look may have been cut off.
            host.remove_tree(&directory)?;
            host.make_dirs(&directory, 0o700)?;
            let (programs, tools) = programs(host, image)?;
            let mut known = Contents { schema: SCHEMA, programs, tools, ..Contents::default() };
            modules(host, image, &directory, &mut known)?;
            let text = serde_json::to_string_pretty(&known).expect("plain data");
            host.write(format!("{directory}/contents.json"), text.as_bytes(), 0o600)?;
            known
        }
    };
    let missing = fit.map(|(rung, backend)| (rung, lacking(&known.programs, rung, backend)));
    match missing {
        Some((rung, missing)) if !missing.is_empty() => {
            Err(Error { kind: crate::error::Kind::Step, ..image_lacks(image, rung, &missing) })
        }
        _ => Ok(()),
    }
}

/// The programs that matter, and what version its `awg` says it has.
fn programs(host: &Host, image: &str) -> Result<(Vec<String>, Option<String>)> {
    let mut programs: Vec<&str> =
        [Rung::Kernel, Rung::Userspace, Rung::Wireguard].into_iter().flat_map(|r| wanted(r, Backend::Nft)).collect();
    programs.sort_unstable();
    programs.dedup();
    let wanted = programs.join(" ");
    let script =
        format!("for p in {wanted}; do command -v $p >/dev/null && echo $p; done; awg --version 2>/dev/null; true");
    let sh = host.shell();
    let run = cmd!(sh, "docker run --rm --network none --cap-drop ALL --entrypoint /bin/sh {image} -c {script}");
    let out = host.run(run, Limits::seconds(120), &format!("asking which programs {image} has"))?;
    let (programs, rest): (Vec<&str>, Vec<&str>) = out.stdout.lines().partition(|l| wanted.split(' ').any(|w| w == *l));
    Ok((programs.into_iter().map(String::from).collect(), rest.first().map(|l| l.to_string())))
}

fn modules(host: &Host, image: &str, directory: &str, known: &mut Contents) -> Result<()> {
    let sh = host.shell();
    // One that a run which was cut off has left.
    host.ask(cmd!(sh, "docker rm --force {OPENED}"), Limits::seconds(60));
    let create = cmd!(sh, "docker create --name {OPENED} --network none {image} true");
    host.run(create, Limits::seconds(60), &format!("opening {image}"))?;
    let taken = copy(host, directory, known);
    host.ask(cmd!(sh, "docker rm --force {OPENED}"), Limits::seconds(60));
    taken
}

fn copy(host: &Host, directory: &str, known: &mut Contents) -> Result<()> {
    let sh = host.shell();
    let unpacked = format!("{directory}/unpacked");
    host.make_dirs(&unpacked, 0o700)?;
    let place = host.path(&unpacked);
    for path in [MODULES, VERSION] {
        // An image without them is no error.
        host.ask(cmd!(sh, "docker cp {OPENED}:{path} {place}"), Limits::seconds(300));
    }
    // Plain files only: a link in an image may point at anything on this host.
    for (path, size) in host.files_below(&unpacked) {
        if path == "amneziawg-kernel-version.txt" {
            let text = host.read_start(format!("{unpacked}/{path}"), 64).and_then(|v| String::from_utf8(v).ok());
            known.version = text.map(|v| v.trim().to_string()).filter(|v| !v.is_empty());
        }
        let Some(inside) = path.strip_prefix("modules/") else { continue };
        if module::module_name(inside).as_deref() != Some(module::NAME) {
            continue;
        }
        if size > module::LARGEST_FILE || known.modules.len() == MODULES_LIMIT {
            known.problem = Some(format!("{MODULES}/{inside} is too large, or one of too many ({size} bytes)"));
            continue;
        }
        let Some(bytes) = host.read(format!("{unpacked}/{path}")) else { continue };
        let kept = Kept { path: format!("{MODULES}/{inside}"), sha256: sha256(&bytes) };
        host.write(format!("{directory}/{}", kept.sha256), &bytes, 0o600)?;
        known.modules.push(kept);
    }
    host.remove_tree(&unpacked)
}
