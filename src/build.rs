//! placeholder until merged
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::Host;
pub fn build(_: &Host, _: &Config, release: &str, _: &str, _: &dyn Fn(&str)) -> Result<Vec<u8>> {
    Err(Error::step(format!("cannot build for {release}")))
}
