//! Package files that are installed by themselves: fetched, checked, and handed to apk as paths.

use crate::config::Url;
use crate::error::{Error, Kind, Result};
use crate::facts::PackageFile;
use crate::fetch;
use crate::host::Host;

/// Largest package that is fetched, in bytes: a kernel with its modules is a tenth of that.
const LIMIT: u64 = 1 << 30;

/// The files as paths on this host. What lies in the cache and is whole is not fetched again.
///
/// # Errors
/// A file that is not what its checksum says (5), or cannot be fetched.
pub fn fetch(host: &Host, files: &[PackageFile]) -> Result<Vec<String>> {
    files.iter().map(|file| one(host, file)).collect()
}

fn one(host: &Host, file: &PackageFile) -> Result<String> {
    let sha256 = file.sha256.as_deref();
    if file.place.starts_with('/') {
        return match (host.sha256_of(&file.place), sha256) {
            (None, _) => {
                Err(Error::new(Kind::Artifact, format!("{}: cannot be read", file.place))
                    .remedy("check kernel.package"))
            }
            (Some(got), Some(wanted)) if got != wanted => {
                Err(Error::new(Kind::Artifact, format!("{} is not the package that was asked for", file.place))
                    .cause(format!("its SHA-256 is {got}, wanted {wanted}"))
                    .remedy("check the file, or correct kernel.package_sha256"))
            }
            _ => Ok(host.path(&file.place).display().to_string()),
        };
    }
    let url: Url =
        file.place.parse().map_err(|e| Error::new(Kind::Config, format!("{}: no address", file.place)).cause(e))?;
    let wanted = fetch::Wanted { url: &url, sha256, limit: file.size.unwrap_or(LIMIT).min(LIMIT) };
    let name = url.rsplit('/').next().unwrap_or_default();
    let progress = &mut *host.progress(&format!("fetching {name}"));
    // apk takes for the name of a package what does not look like a file.
    let path = fetch::object(host, &wanted, fetch::Pace::default(), ".apk", progress)?;
    Ok(host.path(path).display().to_string())
}
