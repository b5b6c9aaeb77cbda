//! A second directory beside the server's data: a copy of it or what is to take its place, and the exchange
//! of the two. The container must not run meanwhile.

use std::io::ErrorKind;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::files::Owner;
use crate::host::tree::What;

/// The data belongs to root alone, whoever the files in it belong to.
pub(super) const TOP: Owner = Owner { mode: 0o700, uid: 0, gid: 0 };
/// Where the data lies between two renames, on a file system that exchanges nothing.
const BETWEEN: &str = "data.between";

/// Copies the data to `<directory>/<beside>`: regular files and directories, and no link is followed.
pub fn copy(host: &Host, directory: &str, beside: &str) -> Result<()> {
    let (data, to) = (format!("{directory}/data"), format!("{directory}/{beside}"));
    host.remove_tree(&to)?;
    host.plant_directory(&to, TOP)?;
    let mut directories = vec![to.clone()];
    host.walk(&data, &mut |node, opened| {
        host.go_on()?;
        let place = format!("{to}/{}", node.path);
        match (node.what, opened) {
            (What::Directory, _) => {
                directories.push(place.clone());
                host.plant_directory(&place, node.owner)
            }
            (What::File { .. }, Some(mut file)) => host.plant(&place, node.owner, &mut file),
            _ => Ok(()),
        }
    })?;
    directories.iter().try_for_each(|d| host.sync_names(d))?;
    host.sync_names(directory)
}

/// Exchanges the data with `<directory>/<beside>`. Where the file system can, at any instant there is data.
pub fn exchange(host: &Host, directory: &str, beside: &str) -> Result<()> {
    let (data, other) = (format!("{directory}/data"), format!("{directory}/{beside}"));
    let fail = |e: std::io::Error| {
        Error::step(format!("{data}: cannot be exchanged with {other}"))
            .cause(e)
            .remedy("both must be plain directories of one file system, the data no mount point of its own")
    };
    if host.link(&data).is_some() {
        return Err(fail(std::io::Error::other("it is a link")));
    }
    match host.exchange(&data, &other) {
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            let between = format!("{directory}/{BETWEEN}");
            host.rename_directory(&data, &between).map_err(fail)?;
            host.rename_directory(&other, &data).map_err(fail)?;
            host.rename_directory(&between, &other).map_err(fail)
        }
        done => done.map_err(fail),
    }
}

/// Ends an exchange that was cut off between two renames, one way or the other.
pub fn mend(host: &Host, directory: &str, beside: &str) -> Result<()> {
    let between = format!("{directory}/{BETWEEN}");
    if !host.is_dir(&between) {
        return Ok(());
    }
    let to = if host.exists(format!("{directory}/data")) { beside } else { "data" };
    let to = format!("{directory}/{to}");
    host.rename_directory(&between, &to).map_err(|e| {
        Error::step(format!("{between}: cannot be given its name back"))
            .cause(e)
            .remedy(format!("it holds the server's data: move it to {to}"))
    })
}
