//! Where backups lie, what they are called, and how many are kept.

use std::path::Path;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::receipt::timestamp;

/// `backup.directory` where it is not configured.
const STANDARD: &str = "/var/lib/awg-install/backup";

/// The file of a new backup: the one that was named, or the next in the configured directory.
pub(super) fn place(host: &Host, config: &Config, to: Option<&Path>) -> Result<String> {
    let Some(to) = to else {
        let directory = config.backup.directory.to_string();
        host.make_dirs(&directory, 0o700)?;
        private(host, &directory, KEYS)?;
        let ending = if config.backup.recipients.is_empty() { ".tar.gz" } else { ".tar.gz.age" };
        // 2026-11-26T18:23:29Z
        let now = timestamp().replace(['-', ':', 'Z'], "").replace('T', "-");
        let taken = |name: &String| ["", ".age"].iter().any(|e| host.exists(format!("{directory}/{name}.tar.gz{e}")));
        let names = (1..).map(|n| if n == 1 { format!("wg-easy-{now}") } else { format!("wg-easy-{now}-{n}") });
        let name = names.into_iter().find(|name| !taken(name)).expect("one of endlessly many");
        return Ok(format!("{directory}/{name}{ending}"));
    };
    let absolute = if host.is_fake() { Ok(to.to_path_buf()) } else { std::path::absolute(to) };
    let path = absolute.map_err(|e| Error::new(Kind::Usage, "--to has no usable name").cause(e))?;
    let shown = path.to_string_lossy().into_owned();
    if host.exists(&path) {
        return Err(Error::new(Kind::Usage, format!("--to {shown}: is there already"))
            .remedy("a backup never replaces a file: name another, or remove it"));
    }
    let parent = path.parent().filter(|p| host.is_dir(p)).ok_or_else(|| {
        Error::new(Kind::Usage, format!("--to {shown}: there is no such directory")).remedy("make it first")
    })?;
    private(host, &parent.to_string_lossy(), KEYS)?;
    Ok(shown)
}

const KEYS: &str = "a backup holds the private key of every client";

/// Who can write to the directory could exchange the file, or read it while it is written.
pub fn private(host: &Host, directory: &str, why: &str) -> Result<()> {
    let owner = host.owner(directory);
    let open = owner.is_some_and(|o| o.mode & 0o022 != 0 || o.uid != 0 && !host.is_fake());
    if !open {
        return Ok(());
    }
    Err(Error::host(format!("{directory}: others than root can write there"))
        .cause(why)
        .remedy(format!("choose another directory, or `chown root {directory}; chmod 700 {directory}`")))
}

/// What backups that were cut off have left.
pub(super) fn sweep(host: &Host, config: &Config) -> Result<()> {
    let directory = config.backup.directory.to_string();
    for name in host.names(&directory).iter().filter(|n| n.strip_suffix(".part").is_some_and(|n| when(n).is_some())) {
        host.remove_file(format!("{directory}/{name}"))?;
    }
    Ok(())
}

/// Removes the oldest beyond `backup.keep`; never one of `spare`, whatever the clock said. Returns what is gone.
pub(super) fn prune(host: &Host, config: &Config, spare: &[&str]) -> Result<Vec<String>> {
    let directory = config.backup.directory.to_string();
    let mut all: Vec<(When, String)> =
        host.names(&directory).into_iter().filter_map(|n| Some((when(&n)?, format!("{directory}/{n}")))).collect();
    all.sort();
    let excess = all.len().saturating_sub(config.backup.keep as usize);
    let spared = |path: &str| spare.iter().any(|s| host.path(s) == host.path(path));
    let old: Vec<String> = all.into_iter().map(|(_, path)| path).filter(|p| !spared(p)).take(excess).collect();
    for path in &old {
        host.remove_file(path)?;
    }
    Ok(old)
}

/// Removes all backups in the directory that they go to where none is configured; says how many are there.
pub fn purge(host: &Host, really: bool) -> Result<usize> {
    let all: Vec<String> = host.names(STANDARD).into_iter().filter(|n| when(n).is_some()).collect();
    if really {
        all.iter().try_for_each(|name| host.remove_file(format!("{STANDARD}/{name}")))?;
        host.remove_empty_dir(STANDARD);
    }
    Ok(all.len())
}

/// Day, second of it, and the number among those of one second.
type When = (u32, u32, u32);

/// The time in the name of a backup; `None` for every other name.
fn when(name: &str) -> Option<When> {
    let name = name.strip_suffix(".age").unwrap_or(name);
    let stamp = name.strip_prefix("wg-easy-")?.strip_suffix(".tar.gz")?;
    let number = |text: &str, digits: usize| {
        let right = text.bytes().all(|b| b.is_ascii_digit()) && (digits == 0 || text.len() == digits);
        text.parse::<u32>().ok().filter(|_| right)
    };
    let mut parts = stamp.split('-');
    let (day, time) = (number(parts.next()?, 8)?, number(parts.next()?, 6)?);
    let nth = parts.next().map_or(Some(1), |n| number(n, 0).filter(|n| *n > 1))?;
    parts.next().is_none().then_some((day, time, nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_backups() {
        assert_eq!(when("wg-easy-20261126-182329.tar.gz"), Some((20261126, 182329, 1)));
        assert_eq!(when("wg-easy-20261126-182329-10.tar.gz.age"), Some((20261126, 182329, 10)));
        for other in [
            "wg-easy-20261126-182329.tar.gz.part",
            "wg-easy-20261126-182329.tar",
            "wg-easy-20261126-182329-x.tar.gz",
            "wg-easy-20261126-182329-2-3.tar.gz",
            "wg-easy-2026112-182329.tar.gz",
            "wg-easy-+0261126-182329.tar.gz",
            "my-wg-easy-20261126-182329.tar.gz",
            "wg-easy-.tar.gz",
            "wg-easy",
        ] {
            assert_eq!(when(other), None, "{other}");
        }
    }
}
