//! Stub until the branch backup is merged.
use crate::config::Config;
use crate::error::Result;
use crate::host::{Host, Limits};
use xshell::cmd;
pub struct Backup {
    pub path: String,
}
pub fn take(host: &Host, config: &Config) -> Result<Backup> {
    let path = config.backup.directory.to_string();
    host.make_dirs(&path, 0o700)?;
    let (sh, from, to) =
        (host.shell(), host.path(format!("{}/data", config.container.directory)), host.path(format!("{path}/data")));
    host.remove_tree(format!("{path}/data"))?;
    host.ask(cmd!(sh, "cp -a {from} {to}"), Limits::seconds(60));
    Ok(Backup { path: format!("{path}/data") })
}
pub fn put_back(host: &Host, config: &Config, file: &str) -> Result<()> {
    let (sh, to, from) = (host.shell(), host.path(format!("{}/data", config.container.directory)), host.path(file));
    host.remove_tree(format!("{}/data", config.container.directory))?;
    host.ask(cmd!(sh, "cp -a {from} {to}"), Limits::seconds(60));
    Ok(())
}
