//! Symbol CRCs: what a module was built against, and what a kernel and its modules export.

use super::elf::{Elf, show, word};
use super::inspect::{Parsed, unpack};
use super::{FETCH_AGAIN, Limits, bad};
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub type Crcs = BTreeMap<String, u32>;

/// `Module.symvers`: the CRC of every symbol that the kernel and its modules export.
pub fn crcs_from_symvers(text: &str) -> Result<Crcs> {
    let mut crcs = Crcs::new();
    for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let mut columns = line.split('\t');
        let crc = columns.next().and_then(|c| c.strip_prefix("0x")).and_then(|c| u32::from_str_radix(c, 16).ok());
        let name = columns.next().filter(|n| !n.is_empty());
        let (Some(crc), Some(name)) = (crc, name) else {
            return Err(Error::new(Kind::Host, format!("Module.symvers is damaged in line {}", index + 1))
                .remedy("install the kernel's -dev package again"));
        };
        crcs.insert(name.to_owned(), crc);
    }
    if crcs.is_empty() {
        return Err(Error::new(Kind::Host, "Module.symvers is empty").remedy("install the kernel's -dev package again"));
    }
    Ok(crcs)
}

/// The CRCs of the symbols that a module file exports.
pub fn exports_of(bytes: &[u8], limits: &Limits) -> Result<Crcs> {
    let (_, plain) = unpack(bytes, limits)?;
    exports(&Parsed::of(&plain)?.elf)
}

pub(crate) fn exports(elf: &Elf<'_>) -> Result<Crcs> {
    let mut crcs = Crcs::new();
    for symbol in elf.symbols() {
        let symbol = symbol?;
        let Some(name) = symbol.name.strip_prefix(b"__crc_") else {
            continue;
        };
        if let Some(crc) = elf.word_at(&symbol) {
            crcs.insert(symbol_name(name)?.to_owned(), crc);
            bounded(crcs.len())?;
        }
    }
    // A hard strip takes the local `__crc_` symbols away; the relocations of the table remain.
    for suffix in ["", "_gpl"] {
        let table = format!("__ksymtab{suffix}");
        let (Some(entries), Some(values)) = (elf.section(&table)?, elf.section(&format!("__kcrctab{suffix}"))?) else {
            continue;
        };
        let count = values.len() / 4;
        let Some(width) = entries.len().checked_div(count).map(|w| w as u64) else {
            continue;
        };
        for (offset, name) in elf.relocations(&table)? {
            if width == 0 || offset % width != 0 || name.is_empty() {
                continue;
            }
            let index = usize::try_from(offset / width).unwrap_or(usize::MAX);
            if let Some(crc) = index.checked_mul(4).and_then(|at| word(values, at)) {
                crcs.entry(symbol_name(name)?.to_owned()).or_insert(crc);
                bounded(crcs.len())?;
            }
        }
    }
    Ok(crcs)
}

/// The CRCs that a module was built against, out of `__versions` or its extended form.
pub(crate) fn versions(elf: &Elf<'_>) -> Result<Crcs> {
    let mut crcs = Crcs::new();
    if let Some(data) = elf.section("__versions")? {
        basic(data, &mut crcs)?;
    }
    match (elf.section("__version_ext_crcs")?, elf.section("__version_ext_names")?) {
        (Some(values), Some(names)) => extended(values, names, &mut crcs)?,
        (None, None) => {}
        _ => return Err(damaged("one half of the extended form is missing")),
    }
    Ok(crcs)
}

/// Rows of a 64-bit value and a name in 56 bytes.
fn basic(data: &[u8], crcs: &mut Crcs) -> Result<()> {
    const ROW: usize = 64;
    let rows = data.chunks_exact(ROW);
    if !rows.remainder().is_empty() {
        return Err(damaged(format!("{} bytes are no whole number of rows", data.len())));
    }
    for row in rows {
        let (value, name) = row.split_at(8);
        let Some(end) = name.iter().position(|b| *b == 0) else {
            return Err(damaged(format!("the name `{}` is not closed", show(name))));
        };
        let Some(crc) = word(value, 0).filter(|_| value[4..] == [0; 4]) else {
            return Err(damaged(format!("the CRC of `{}` is wider than 32 bits", show(&name[..end]))));
        };
        add(crcs, &name[..end], crc)?;
    }
    Ok(())
}

fn extended(values: &[u8], names: &[u8], crcs: &mut Crcs) -> Result<()> {
    if !values.chunks_exact(4).remainder().is_empty() || names.last() != Some(&0) {
        return Err(damaged("the extended form is cut"));
    }
    let names: Vec<&[u8]> = names[..names.len() - 1].split(|b| *b == 0).collect();
    if names.len() != values.len() / 4 {
        return Err(damaged(format!("{} names for {} CRCs", names.len(), values.len() / 4)));
    }
    for (index, name) in names.into_iter().enumerate() {
        if let Some(crc) = word(values, index * 4) {
            add(crcs, name, crc)?;
        }
    }
    Ok(())
}

fn add(crcs: &mut Crcs, name: &[u8], crc: u32) -> Result<()> {
    let name = symbol_name(name)?;
    match crcs.entry(name.to_owned()) {
        Entry::Occupied(known) if *known.get() != crc => {
            Err(damaged(format!("`{name}` is listed with two different CRCs")))
        }
        Entry::Occupied(_) => Ok(()),
        Entry::Vacant(free) => {
            free.insert(crc);
            bounded(crcs.len())
        }
    }
}

/// The largest modules import some two thousand symbols.
pub(crate) fn bounded(symbols: usize) -> Result<()> {
    const MOST: usize = 20_000;
    if symbols <= MOST {
        return Ok(());
    }
    Err(bad(format!("the module claims more than {MOST} imports or exports")).remedy(FETCH_AGAIN))
}

/// Symbol names are shown to people, so only what a compiler would make is let through.
pub(crate) fn symbol_name(bytes: &[u8]) -> Result<&str> {
    let clean = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(bytes)
        .ok()
        .filter(|_| clean)
        .ok_or_else(|| bad(format!("`{}` is not a possible symbol name", show(bytes))).remedy(FETCH_AGAIN))
}

fn damaged(cause: impl std::fmt::Display) -> Error {
    bad("the module's symbol versions (__versions) are damaged").cause(cause).remedy(FETCH_AGAIN)
}

/// CRCs in JSON as people know them from `Module.symvers`.
pub(crate) mod hex {
    use super::Crcs;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::collections::BTreeMap;

    pub fn serialize<S: Serializer>(crcs: &Crcs, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(crcs.iter().map(|(name, crc)| (name, format!("{crc:#010x}"))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Crcs, D::Error> {
        let parse = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        BTreeMap::<String, String>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, text)| {
                let crc =
                    parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no CRC such as 0x1234abcd")))?;
                Ok((name, crc))
            })
            .collect()
    }
}
