//! The `.modinfo` section: `key=value` strings, each closed by a zero byte.

use super::elf::show;
use super::{FETCH_AGAIN, bad};
use crate::error::{Error, Result};

/// Longest module name the kernel has room for on a 64-bit machine.
pub(crate) const NAME_MAX: usize = 55;

/// Drivers with thousands of aliases stay below this.
const SECTION_MAX: usize = 1 << 20;

pub(crate) struct Modinfo<'a> {
    entries: Vec<(&'a str, &'a str)>,
}

impl<'a> Modinfo<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Modinfo<'a>> {
        if data.is_empty() {
            return Err(bad("the module's .modinfo section is empty").remedy(FETCH_AGAIN));
        }
        if data.len() > SECTION_MAX {
            return Err(damaged(format!("{} bytes are too many", data.len())));
        }
        if data.last() != Some(&0) {
            return Err(damaged("its last entry is not closed"));
        }
        let mut entries = Vec::new();
        for entry in data.split(|b| *b == 0).filter(|e| !e.is_empty()) {
            let text = std::str::from_utf8(entry).map_err(|_| damaged(format!("`{}`", show(entry))))?;
            let Some((key, value)) = text.split_once('=') else {
                return Err(damaged(format!("`{}` has no `=`", show(entry))));
            };
            entries.push((key, value));
        }
        Ok(Modinfo { entries })
    }

    pub fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.entries.iter().filter(move |(k, _)| *k == key).map(|(_, v)| *v)
    }

    /// The one value of a key. Two that differ would let tools and the kernel read different ones.
    pub fn one(&self, key: &str) -> Result<Option<&'a str>> {
        let mut values = self.all(key);
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.any(|other| other != first) {
            return Err(damaged(format!("`{key}` is given twice with different values")));
        }
        if first.chars().any(char::is_control) {
            return Err(damaged(format!("`{key}` holds control characters")));
        }
        Ok(Some(first))
    }

    pub fn owned(&self, key: &str) -> Result<Option<String>> {
        Ok(self.one(key)?.filter(|v| !v.is_empty()).map(str::to_owned))
    }
}

/// A name that is safe in a path, a message and a modprobe command line.
pub(crate) fn is_module_name(name: &str) -> bool {
    let fits = (1..=NAME_MAX).contains(&name.len());
    fits && !name.starts_with('-') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn damaged(cause: impl std::fmt::Display) -> Error {
    bad("the module's .modinfo section is damaged").cause(cause).remedy(FETCH_AGAIN)
}
