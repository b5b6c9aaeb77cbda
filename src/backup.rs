//! The server's data: copied at one moment into one file, and put back from there.
//!
//! All below `<directory>/data` belongs to the container's root, who may put links, devices and pipes there:
//! only regular files and directories are taken, no link is followed, and what was left out is listed.

pub mod aside;
mod keep;
mod manifest;
mod read;
mod restore;
mod still;
mod write;

pub(crate) use write::header;

use std::path::Path;

use crate::age;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::receipt::{Receipt, STATE_DIR, timestamp};
pub use keep::{private, purge};
pub use manifest::{LeftOut, Manifest};
pub use restore::{Source, drop_unfinished, is_unsettled, restore, settle};
pub use still::settle as let_go_on;

/// Files beside the data that a backup holds for whoever wants to read them; they are not put back.
const BESIDE: &[&str] = &["compose.yaml", "wg-easy.env"];
/// The server's database, below its data.
const DATABASE: &str = "wg-easy.db";
/// MiB beyond what is written that have to be free.
const SPARE_MIB: u64 = 16;

/// Where a backup goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Order<'a> {
    /// A file that is not there yet, instead of the next in `backup.directory`; nothing is removed then.
    pub to: Option<&'a Path>,
    /// A backup that stays, however many there are.
    pub spare: Option<&'a str>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Backup {
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
    /// To the configured recipients.
    pub encrypted: bool,
    /// Milliseconds.
    pub stood_still_ms: u64,
    /// How many files of the server are in it.
    pub files: usize,
    pub left_out: Vec<LeftOut>,
    /// Older backups that were removed for it.
    pub removed: Vec<String>,
}

/// Takes a backup. A container that runs is paused while its files are copied; see [`still`] for why the copy
/// is consistent. One that does not run is left as it is. The caller holds the lock.
pub fn take(host: &Host, config: &Config, receipt: Option<&Receipt>, order: &Order) -> Result<Backup> {
    let (name, directory) = (config.container.name.to_string(), config.container.directory.to_string());
    let data = format!("{directory}/data");
    still::settle(host)?;
    if !host.is_dir(&data) {
        return Err(Error::host(format!("{data}: there is no server's data to back up"))
            .remedy("install first, or set container.directory to where the server lives"));
    }
    let file = keep::place(host, config, order.to)?;
    keep::sweep(host, config)?;
    host.make_dirs(STATE_DIR, 0o700)?;
    room(host, write::measure(host, &data)?, &file)?;
    let container = still::inspect(host, &name)?;
    let spool = host.nameless(STATE_DIR)?;

    let still = still::Still::hold(host, &name)?;
    let copied = write::copy(host, &data, spool);
    let held = still.held();
    // Whatever came of it, the server goes on first.
    let stood_still = still.release()?;
    let mut copied = copied?;
    held?;

    copied.hash()?;
    let (listed, beside): (Vec<_>, Vec<_>) =
        write::beside(host, &directory).into_iter().map(|(file, bytes)| (file.clone(), (file.path, bytes))).unzip();
    let manifest = Manifest {
        schema: manifest::SCHEMA,
        created: timestamp(),
        version: env!("CARGO_PKG_VERSION").into(),
        mode: receipt.map(|r| r.mode.clone()).unwrap_or_default(),
        image: image(host, &container),
        container: name,
        directory,
        files: listed.into_iter().chain(copied.files.iter().cloned()).collect(),
        directories: copied.directories.clone(),
        left_out: copied.left_out.clone(),
    };
    let (size, sha256) = write_to(host, config, &file, &mut copied, &manifest, &beside)?;
    let removed = match order.to {
        Some(_) => Vec::new(),
        None => keep::prune(host, config, &[&file, order.spare.unwrap_or_default()])?,
    };
    Ok(Backup {
        file,
        size,
        sha256,
        encrypted: !config.backup.recipients.is_empty(),
        stood_still_ms: stood_still.as_millis() as u64,
        files: copied.files.len(),
        left_out: manifest.left_out,
        removed,
    })
}

/// What the command prints.
pub fn text(backup: &Backup) -> String {
    let kind = if backup.encrypted { "encrypted to backup.recipients" } else { "not encrypted" };
    let mut text = format!(
        "Backup:   {}\nSize:     {} bytes, {} files of the server, {kind}\nSHA-256:  {}\nPause:    the container stood still for {} ms",
        backup.file, backup.size, backup.files, backup.sha256, backup.stood_still_ms
    );
    for left in backup.left_out.iter().filter(|l| !l.path.ends_with("-shm")) {
        text.push_str(&format!("\nLeft out: {} ({})", left.path.escape_debug(), left.why));
    }
    for removed in &backup.removed {
        text.push_str(&format!("\nRemoved:  {removed} (backup.keep)"));
    }
    text.push_str("\nIt holds the private key of every client: keep it as you would keep those.");
    text
}

fn write_to(
    host: &Host,
    config: &Config,
    file: &str,
    copied: &mut write::Copied,
    manifest: &Manifest,
    beside: &[(String, Vec<u8>)],
) -> Result<(u64, String)> {
    let fail = |e: std::io::Error| {
        let remedy = "check the directory and free some space, then run this again";
        Error::step(format!("{file}: cannot be written")).cause(e).remedy(remedy)
    };
    let recipients: std::result::Result<Vec<age::PublicKey>, String> =
        config.backup.recipients.iter().map(|r| r.parse()).collect();
    let recipients = recipients.map_err(|e| Error::new(Kind::Config, format!("backup.recipients: one {e}")))?;
    let done = (|| -> Result<(u64, String)> {
        let sink = write::Sink::new(host.partial_anew(file)?.feed(host), &recipients);
        let written = sink.and_then(|to| copied.archive(manifest, beside, to)).and_then(write::Sink::finish);
        let mut partial = written.map_err(fail)?.into_inner();
        host.boundary();
        let written = (partial.length(), partial.sha256());
        partial.commit(0o600)?;
        host.boundary();
        Ok(written)
    })();
    if done.is_err() {
        let _ = host.remove_file(format!("{file}.part"));
    }
    done
}

/// The copy lies beside the receipt for a moment, then the archive in its directory; both may be one disk.
fn room(host: &Host, bytes: u64, file: &str) -> Result<()> {
    let wanted = 2 * (bytes >> 20) + SPARE_MIB;
    let parent = Path::new(file).parent().unwrap_or(Path::new("/")).to_path_buf();
    for place in [Path::new(STATE_DIR).to_path_buf(), parent] {
        let Some(free) = host.free_mib(&place).filter(|free| *free < wanted) else { continue };
        return Err(Error::host(format!("{}: no room for a backup", place.display()))
            .cause(format!("{free} MiB are free, {wanted} are needed"))
            .remedy("free some space, or set backup.directory to another disk"));
    }
    Ok(())
}

/// What the engine knows of the image that the container was made from.
fn image(host: &Host, container: &serde_json::Value) -> manifest::Image {
    let text = |value: &serde_json::Value| value.as_str().map(String::from);
    let id = text(&container["Image"]);
    let known = id.as_ref().and_then(|id| host.engine_get(&format!("/images/{id}/json")).found()).unwrap_or_default();
    manifest::Image {
        reference: text(&container["Config"]["Image"]),
        digest: text(&known["RepoDigests"][0]),
        created: text(&known["Created"]),
        id,
    }
}
