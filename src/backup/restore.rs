//! Putting a backup in place of the server's data, and the way back when the server does not work with it.
//!
//! The new data is whole on the disk before anything is touched, the old data has been backed up before the
//! two are exchanged, and the exchange is one step: at every moment there is one whole set in place. What a
//! run that was killed has left is ended by [`settle`]: before the exchange it is taken back, after it the
//! server is started and proven as this run would have done.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::aside;
use super::manifest::{DATA, Manifest};
use super::read::Archive;
use super::{DATABASE, Order, still};
use crate::config::Config;
use crate::container;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::host::files::Owner;
use crate::owned::Rung;
use crate::receipt::{Outcome, Receipt, STATE_DIR};
use crate::report::Report;

/// Says that the data is being replaced, from before the server is stopped until it is proven.
const RECORD: &str = "/var/lib/awg-install/restore.json";
/// The new data before the exchange, the old after it.
const OTHER: &str = "data.restoring";
const SCHEMA: u32 = 1;
const SPARE_MIB: u64 = 16;

/// What is to be put back.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a Path,
    /// A file with age identities, for a backup that is encrypted.
    pub identity: Option<&'a Path>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    schema: u32,
    file: String,
    directory: String,
    container: String,
    /// Kind of wg0 that proves the server.
    interface: String,
    /// The number of the new data's directory, once it is whole: where it is tells how far the exchange got.
    new: u64,
    phase: Phase,
    /// There was a database before, so that the server can be started with it.
    had_database: bool,
    /// The container was not stopped by whoever looks after it.
    ran: bool,
    /// The backup of the old data.
    before: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    Forward,
    Back,
    /// What is in place stays; the other goes.
    Done,
}

/// `restore`. `confirm` is asked once all is known and nothing has been changed. The caller holds the lock.
pub fn restore(
    host: &Host,
    config: &Config,
    report: &Report,
    source: &Source,
    confirm: &mut dyn FnMut() -> Result<()>,
) -> Result<u8> {
    let receipt = installed(host, config)?;
    settle(host, config, report)?;
    let mut archive = Archive::open(host, source.file, source.identity)?;
    let manifest = archive.verify()?;
    if !manifest.has_database() {
        return Err(Error::new(Kind::Artifact, format!("{}: holds no database", source.file.display()))
            .cause("it was taken before the server had started for the first time")
            .remedy("use another backup"));
    }
    show(host, config, report, &manifest)?;
    room(host, config, &manifest)?;
    confirm()?;
    let mut record = prepare(host, config, &receipt, source, &mut archive)?;
    if let Err(error) = replace(host, config, report, &receipt, source, &mut record) {
        let taken_back = aside::mend(host, &record.directory, OTHER).and_then(|()| match is_exchanged(host, &record) {
            true => back(host, config, report, record),
            // The server goes on with what it had.
            false => abandon(host, record),
        });
        return Err(match taken_back {
            Ok(()) => error,
            Err(second) => error.remedy(format!("the server could not be started again: {second}")),
        });
    }
    forward(host, config, report, record)?;
    let summary = format!("restored: the server runs with its data of {}", manifest.created);
    let more = "Sign in with the name and password that were in force then.";
    report.end("restored", 0, &summary, more);
    Ok(0)
}

/// Ends what a run that was killed has left: a container that stands still, a half-done restore.
pub fn settle(host: &Host, config: &Config, report: &Report) -> Result<()> {
    if let Some(name) = still::settle(host)? {
        report.note(&format!("a backup was cut off: the container {name} goes on"));
    }
    let Some(record) = load(host)? else { return Ok(()) };
    aside::mend(host, &record.directory, OTHER)?;
    match (record.phase, is_exchanged(host, &record)) {
        (Phase::Forward, false) => {
            report.note(&format!("the restore of {} was cut off before it changed anything", record.file));
            abandon(host, record)
        }
        (Phase::Forward, true) => {
            report.note(&format!("the restore of {} was cut off; goes on with it", record.file));
            match forward(host, config, report, record) {
                Err(error) if host.stop_requested().is_none() && load(host)?.is_none() => {
                    // Back in place and told; whatever this run is for may go on.
                    report.error(&error);
                    Ok(())
                }
                ended => ended,
            }
        }
        (Phase::Done, _) => forget(host, record),
        (Phase::Back, _) => {
            report.note("the way back of a restore was cut off; goes on with it");
            back(host, config, report, record)
        }
    }
}

/// For a rollback, which takes the server down anyway: ends what was left without starting anything. The data
/// from before counts, since the backup is still where it was.
pub fn drop_unfinished(host: &Host) -> Result<()> {
    host.remove_file(still::MARK)?;
    // Also half a record, which nothing was done for.
    let Some(record) = load(host)? else { return host.remove_file(RECORD) };
    aside::mend(host, &record.directory, OTHER)?;
    if record.phase != Phase::Done && record.had_database && is_exchanged(host, &record) {
        // Where the engine does not answer, nothing of its runs.
        let _ = still::stop(host, &record.container);
        aside::exchange(host, &record.directory, OTHER)?;
    }
    forget(host, record)
}

/// A restore or backup that was killed has left something to be ended.
pub fn is_unsettled(host: &Host) -> bool {
    host.exists(RECORD) || host.exists(still::MARK)
}

/// The receipt of an installation that can take the data.
fn installed(host: &Host, config: &Config) -> Result<Receipt> {
    let directory = &config.container.directory;
    let hint = "install first (`awg-install install`); its first settings are replaced by those of the backup";
    let receipt = Receipt::load(host)?.filter(|_| host.exists(format!("{directory}/compose.yaml")));
    let Some(receipt) = receipt else {
        return Err(Error::host(format!("{directory}: no server is installed here")).remedy(hint));
    };
    if receipt.outcome == Outcome::RollingBack || receipt.pending() {
        return Err(Error::host("an installation or rollback is under way here")
            .remedy("let it end first: `awg-install resume`, or `awg-install rollback`"));
    }
    if receipt.first_start_pending() {
        return Err(Error::host("the server has never come up here").remedy(hint));
    }
    Ok(receipt)
}

/// What will happen, before the question.
fn show(host: &Host, config: &Config, report: &Report, manifest: &Manifest) -> Result<()> {
    let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    let image = manifest.image.reference.as_deref().unwrap_or("an unknown image");
    report.note(&format!(
        "Backup:   taken {}, mode {}, {}\nHolds:    {} files, {} bytes; checked against its list\n\
         Replaces: all in {}/{DATA}, which is backed up first; the server stops for that time\n\
         Stays:    compose file, environment, kernel, module",
        shown(&manifest.created),
        if manifest.mode.is_empty() { "unknown".into() } else { shown(&manifest.mode) },
        shown(image),
        manifest.files.len(),
        manifest.data_size(),
        config.container.directory,
    ));
    let container = still::inspect(host, &config.container.name)?;
    let runs = super::image(host, &container);
    if let (Some(theirs), Some(ours)) = (&manifest.image.created, &runs.created)
        && theirs > ours
    {
        report.note(
            "Warning:  the backup is from a newer image than the one that runs: its database may be one that this image \
             does not understand. If the server does not come up, the data from before is put back.",
        );
    }
    Ok(())
}

fn room(host: &Host, config: &Config, manifest: &Manifest) -> Result<()> {
    let directory = config.container.directory.to_string();
    let wanted = (manifest.data_size() >> 20) + SPARE_MIB;
    match host.free_mib(&directory) {
        Some(free) if free < wanted => Err(Error::host(format!("{directory}: no room for the backup's files"))
            .cause(format!("{free} MiB are free, {wanted} are needed"))
            .remedy("free some space")),
        _ => Ok(()),
    }
}

/// Unpacks beside the data and writes down what is about to happen. The server still runs.
fn prepare(host: &Host, config: &Config, receipt: &Receipt, source: &Source, archive: &mut Archive) -> Result<Record> {
    let directory = config.container.directory.to_string();
    let rungs = [Rung::Kernel, Rung::Userspace, Rung::Wireguard];
    let rung = rungs.into_iter().find(|r| r.as_str() == receipt.mode).ok_or_else(|| {
        Error::host(format!("the receipt names no mode that could be proven: {:?}", receipt.mode))
            .remedy("run `awg-install install` first")
    })?;
    let data = format!("{directory}/{DATA}");
    let name = config.container.name.to_string();
    let mut record = Record {
        schema: SCHEMA,
        file: source.file.display().to_string(),
        directory,
        interface: rung.interface().into(),
        new: 0,
        phase: Phase::Forward,
        had_database: host.size(format!("{data}/{DATABASE}")) > 0,
        ran: !matches!(still::state(host, &name)?, still::State::Stopped | still::State::Absent),
        container: name,
        before: None,
    };
    save(host, &record)?;
    let other = format!("{}/{OTHER}", record.directory);
    let unpacked = unpack(host, &other, archive).and_then(|()| {
        record.new = host.directory_number(&other).unwrap_or_default();
        save(host, &record)
    });
    match unpacked {
        Ok(()) => Ok(record),
        Err(error) => {
            let _ = forget(host, record);
            Err(error)
        }
    }
}

fn unpack(host: &Host, to: &str, archive: &mut Archive) -> Result<()> {
    let place = |path: &str| format!("{to}/{}", path.strip_prefix("data/").unwrap_or(path));
    // Nobody gains rights by what a file of the container's says of itself.
    let plain = |mode: u32, uid, gid| Owner { mode: mode & 0o777, uid, gid };
    host.remove_tree(to)?;
    let manifest = archive.go_through(
        &mut |manifest| {
            host.plant_directory(to, aside::TOP)?;
            // Open to root whatever they will be, until all is in them.
            manifest
                .directories
                .iter()
                .try_for_each(|d| host.plant_directory(&place(&d.path), plain(d.mode, d.uid, d.gid)))
        },
        &mut |listed, bytes| match listed.path.starts_with("data/") {
            true => host.plant(&place(&listed.path), plain(listed.mode, listed.uid, listed.gid), bytes),
            // Beside the data: read to its end, so that it is checked, and not put back.
            false => std::io::copy(bytes, &mut std::io::sink())
                .map(drop)
                .map_err(|e| Error::new(Kind::Artifact, "the backup cannot be read").cause(e)),
        },
    )?;
    manifest.directories.iter().try_for_each(|d| host.sync_names(&place(&d.path)))?;
    host.sync_names(to)
}

/// Stops the server, backs its data up, and exchanges the two.
fn replace(
    host: &Host,
    config: &Config,
    report: &Report,
    receipt: &Receipt,
    source: &Source,
    record: &mut Record,
) -> Result<()> {
    let data = format!("{}/{DATA}", record.directory);
    host.go_on()?;
    still::stop(host, &record.container)?;
    if host.is_dir(&data) {
        let spare = source.file.to_string_lossy();
        let backup = super::take(host, config, Some(receipt), &Order { to: None, spare: Some(&spare) })?;
        report.note(&format!("the data from before: {}", backup.file));
        record.before = Some(backup.file);
        save(host, record)?;
    } else {
        host.plant_directory(&data, aside::TOP)?;
    }
    host.go_on()?;
    aside::exchange(host, &record.directory, OTHER)
}

/// The exchange has not happened: the server goes on as it was.
fn abandon(host: &Host, record: Record) -> Result<()> {
    if record.ran && record.had_database {
        still::start(host, &record.container)?;
    }
    forget(host, record)
}

/// The new data is in place: starts the server with it and proves it, or goes back.
fn forward(host: &Host, config: &Config, report: &Report, record: Record) -> Result<()> {
    let error = match start_and_prove(host, config, report, &record) {
        Ok(()) => return forget(host, record),
        Err(error) => error,
    };
    if host.stop_requested().is_some() {
        return Err(error.remedy("run any command of awg-install that changes something: it goes on with the restore"));
    }
    report.note("the server does not work with the backup's data; puts the data from before back");
    let file = record.file.clone();
    let had_database = record.had_database;
    back(host, config, report, record)?;
    let now = if had_database {
        "the data from before is in place again, and the server runs with it"
    } else {
        "nothing was in place before"
    };
    Err(Error::step(format!("{file}: the server does not come up with it; {now}"))
        .cause(error.message + &error.cause.map(|c| format!("\n{c}")).unwrap_or_default())
        .remedy("is it a backup of this server, with the same port? `awg-install doctor` checks the host"))
}

/// Puts the old data back where it is not, and starts the server with it.
fn back(host: &Host, config: &Config, report: &Report, mut record: Record) -> Result<()> {
    record.phase = Phase::Back;
    save(host, &record)?;
    still::stop(host, &record.container)?;
    if is_exchanged(host, &record) {
        aside::exchange(host, &record.directory, OTHER)?;
    }
    let started = if record.had_database { start_and_prove(host, config, report, &record) } else { Ok(()) };
    forget(host, record)?;
    started.map_err(|error| Error {
        message: format!(
            "the data from before is in place again, and the server does not come up with it either: {}",
            error.message
        ),
        ..error
    })
}

fn start_and_prove(host: &Host, config: &Config, report: &Report, record: &Record) -> Result<()> {
    if !still::start(host, &record.container)? {
        container::up(host, config)?;
    }
    let seen = container::prove(host, config, None, &record.interface)?;
    report.proof(&record.interface, config.server.port, seen.web);
    Ok(())
}

/// What lies beside the data goes; from here on it is not gone back to, since half of it may be missing.
fn forget(host: &Host, mut record: Record) -> Result<()> {
    record.phase = Phase::Done;
    save(host, &record)?;
    host.remove_tree(format!("{}/{OTHER}", record.directory))?;
    host.remove_file(RECORD)
}

fn is_exchanged(host: &Host, record: &Record) -> bool {
    host.directory_number(&format!("{}/{DATA}", record.directory)) == Some(record.new)
}

fn load(host: &Host) -> Result<Option<Record>> {
    let Some(bytes) = host.read(RECORD) else { return Ok(None) };
    let broken = |why: String| {
        Error::step(format!("{RECORD}: cannot be understood"))
            .cause(why)
            .remedy("use the release of awg-install that wrote it")
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
    match record.schema {
        SCHEMA => Ok(Some(record)),
        other => Err(broken(format!("its schema is {other}, this release knows {SCHEMA}"))),
    }
}

fn save(host: &Host, record: &Record) -> Result<()> {
    host.make_dirs(STATE_DIR, 0o700)?;
    let text = serde_json::to_string_pretty(record).expect("plain data");
    host.write(RECORD, format!("{text}\n").as_bytes(), 0o600)
}
