//! Looking into the container image: its programs, and a module that it may bring along. The image's own
//! program is not run for that; its shell is.

use xshell::cmd;

use crate::daemon;
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
/// The container that the image is opened as: it lists what the image has, and its files are taken when it has ended.
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
            let mut known = Contents { schema: SCHEMA, ..Contents::default() };
            let looked = open(host, image, &directory, &mut known);
            daemon::remove_container(host, OPENED);
            looked?;
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

/// The programs that matter, what version its `awg` says it has, and the modules.
fn open(host: &Host, image: &str, directory: &str, known: &mut Contents) -> Result<()> {
    let mut programs: Vec<&str> =
        [Rung::Kernel, Rung::Userspace, Rung::Wireguard].into_iter().flat_map(|r| wanted(r, Backend::Nft)).collect();
    programs.sort_unstable();
    programs.dedup();
    let wanted = programs.join(" ");
    let script = format!(
        "for p in {wanted}; do command -v $p >/dev/null && echo $p; done; \
         for f in {MODULES} {VERSION}; do test ! -e $f || echo $f; done; awg --version 2>/dev/null; true"
    );
    // One that a run which was cut off has left.
    daemon::remove_container(host, OPENED);
    let sh = host.shell();
    let run =
        cmd!(sh, "docker run --name {OPENED} --network none --cap-drop ALL --entrypoint /bin/sh {image} -c {script}");
    let out = host.run(run, Limits::seconds(120), &format!("asking which programs {image} has"))?;
    let mut copied = Vec::new();
    for line in out.stdout.lines() {
        match line {
            MODULES | VERSION => copied.push(line),
            program if programs.contains(&program) => known.programs.push(program.to_string()),
            version => known.tools = known.tools.take().or(Some(version.to_string())),
        }
    }
    copy(host, &copied, directory, known)
}

fn copy(host: &Host, paths: &[&str], directory: &str, known: &mut Contents) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let sh = host.shell();
    let unpacked = format!("{directory}/unpacked");
    host.make_dirs(&unpacked, 0o700)?;
    let place = host.path(&unpacked);
    for path in paths {
        // What cannot be copied counts as not there: a module can come from elsewhere.
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
