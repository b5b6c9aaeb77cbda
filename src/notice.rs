//! The line that root finds at a login after a restart, until it was seen.

use crate::error::Result;
use crate::host::Host;
use crate::owned::NOTICE_LINE;

/// From now on this is told.
pub fn set(host: &Host, state: &str) -> Result<()> {
    let state = state.lines().next().unwrap_or_default();
    host.write(NOTICE_LINE, format!("awg-install: {state} (more: `awg-install status`)\n").as_bytes(), 0o644)
}

/// How it stands now, where something is told at all.
pub fn renew(host: &Host, state: &str) -> Result<()> {
    if host.exists(NOTICE_LINE) { set(host, state) } else { Ok(()) }
}

/// It was seen, or there is nothing left to tell of.
pub fn clear(host: &Host) -> Result<()> {
    host.remove_file(NOTICE_LINE)
}
