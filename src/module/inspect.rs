//! All that a module says about itself.

use super::compress::{Compression, expand};
use super::elf::{Elf, show};
use super::modinfo::{Modinfo, is_module_name};
use super::signature::{self, Signature};
use super::vermagic::Vermagic;
use super::{FETCH_AGAIN, Limits, Machine, abi, bad};
use crate::error::Result;
use crate::host::hash;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Of the file as given.
    pub size: u64,
    pub sha256: String,
    pub compression: Compression,
    /// Of the module itself, which is what gets installed.
    pub uncompressed_size: u64,
    pub uncompressed_sha256: String,
    pub machine: Machine,
    pub name: String,
    pub vermagic: Vermagic,
    pub depends: Vec<String>,
    pub srcversion: Option<String>,
    pub version: Option<String>,
    pub license: Option<String>,
    pub aliases: Vec<String>,
    pub in_tree: bool,
    pub signed: bool,
    /// Serial number of the signing certificate, in hex.
    pub signer: Option<String>,
    /// Size of the kernel's `struct module` that it was built with.
    pub struct_size: u64,
    /// Symbols it takes from the kernel and other modules, with the CRC it was built against.
    #[serde(with = "abi::hex")]
    pub imports: BTreeMap<String, u32>,
    /// Symbols it takes without saying which version.
    pub unversioned: BTreeSet<String>,
    /// Imports that the kernel may leave out.
    pub weak: BTreeSet<String>,
}

/// Reads a module file, compressed or not. Every way in which it can be broken is its own error.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Inspection> {
    open(bytes, limits).map(|(inspection, _)| inspection)
}

/// Like [`inspect`], and hands out the uncompressed module that was judged, to be installed.
pub fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Inspection, Cow<'a, [u8]>)> {
    let (compression, plain) = unpack(bytes, limits)?;
    let module = Parsed::of(&plain)?;
    let (imports, unversioned, weak) = module.imports()?;
    let sha256 = hash::sha256(bytes);
    let uncompressed_sha256 = match compression {
        Compression::None => sha256.clone(),
        _ => hash::sha256(&plain),
    };
    let info = &module.info;
    let depends = info.one("depends")?.unwrap_or_default();
    let depends: Vec<String> = depends.split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect();
    if let Some(odd) = depends.iter().find(|d| !is_module_name(d)) {
        let odd = show(odd.as_bytes());
        return Err(bad(format!("the module depends on `{odd}`, which is no module name")).remedy(FETCH_AGAIN));
    }
    let printable = |alias: &&str| !alias.chars().any(char::is_control);
    let inspection = Inspection {
        size: bytes.len() as u64,
        sha256,
        compression,
        uncompressed_size: plain.len() as u64,
        uncompressed_sha256,
        machine: module.elf.machine,
        name: module.name.clone(),
        vermagic: module.vermagic.clone(),
        depends,
        srcversion: info.owned("srcversion")?,
        version: info.owned("version")?,
        license: info.owned("license")?,
        aliases: info.all("alias").filter(printable).map(str::to_owned).collect(),
        in_tree: info.one("intree")?.is_some(),
        signed: module.signature.is_some(),
        signer: module.signature.as_ref().and_then(|s| s.signer.clone()),
        struct_size: module.struct_size,
        imports,
        unversioned,
        weak,
    };
    Ok((inspection, plain))
}

/// The uncompressed module, within the limits.
pub(crate) fn unpack<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Compression, Cow<'a, [u8]>)> {
    let size = bytes.len() as u64;
    if size > limits.file {
        return Err(bad(format!("the file has {size} bytes, the limit for a module is {}", limits.file))
            .remedy("check that it is the amneziawg.ko file"));
    }
    expand(bytes, limits)
}

/// A module whose parts are all there.
pub(crate) struct Parsed<'a> {
    pub elf: Elf<'a>,
    pub info: Modinfo<'a>,
    pub name: String,
    pub vermagic: Vermagic,
    pub signature: Option<Signature>,
    pub struct_size: u64,
}

type Imports = (BTreeMap<String, u32>, BTreeSet<String>, BTreeSet<String>);

impl<'a> Parsed<'a> {
    pub fn of(plain: &'a [u8]) -> Result<Parsed<'a>> {
        let (body, signature) = signature::split(plain)?;
        let elf = Elf::parse(body)?;
        let Some(info) = elf.section(".modinfo")? else {
            return Err(bad("the ELF object has no .modinfo section, so it is no finished kernel module")
                .remedy("name the linked amneziawg.ko, not an object file of the build"));
        };
        let info = Modinfo::parse(info)?;
        let vermagic = info.one("vermagic")?.and_then(Vermagic::parse);
        let Some(vermagic) = vermagic else {
            return Err(bad("the module does not say which kernel it was built for (no vermagic)")
                .remedy("build it with the kernel's own build system"));
        };
        let Some(name) = info.one("name")? else {
            return Err(bad("the module has no name in .modinfo").remedy("build it with the kernel's own build system"));
        };
        if !is_module_name(name) {
            return Err(bad(format!("`{}` is not a possible module name", show(name.as_bytes()))).remedy(FETCH_AGAIN));
        }
        let struct_size = own_struct(&elf, name)?;
        if !elf.has_symbols() {
            return Err(bad("the module has no symbol table, so the kernel cannot link it")
                .remedy("strip modules with --strip-debug only"));
        }
        let stray = (body.len() as u64).saturating_sub(elf.end);
        if stray > 0 {
            return Err(bad(format!("{stray} stray bytes follow the module: a cut signature or something appended"))
                .remedy(FETCH_AGAIN));
        }
        Ok(Parsed { name: name.to_owned(), elf, info, vermagic, signature, struct_size })
    }

    /// Versioned imports, unversioned ones, and which of all are weak.
    pub fn imports(&self) -> Result<Imports> {
        let imports = abi::versions(&self.elf)?;
        let (mut unversioned, mut weak) = (BTreeSet::new(), BTreeSet::new());
        for symbol in self.elf.symbols() {
            let symbol = symbol?;
            if !symbol.is_import() {
                continue;
            }
            let name = abi::symbol_name(symbol.name)?;
            if symbol.is_weak() {
                weak.insert(name.to_owned());
            }
            if !imports.contains_key(name) {
                unversioned.insert(name.to_owned());
            }
            abi::bounded(unversioned.len() + weak.len())?;
        }
        Ok((imports, unversioned, weak))
    }
}

/// The kernel goes by the name inside `struct module`; a patched .modinfo does not rename a module.
fn own_struct(elf: &Elf<'_>, name: &str) -> Result<u64> {
    const SECTION: &str = ".gnu.linkonce.this_module";
    /// After the state (padded to eight bytes) and a list head of two pointers.
    const NAME_OFFSET: usize = 24;
    let Some(data) = elf.section(SECTION)? else {
        return Err(bad(format!("the ELF object has no {SECTION} section, so it is no finished kernel module"))
            .remedy("name the linked amneziawg.ko, not an object file of the build"));
    };
    let field = data.get(NAME_OFFSET..).unwrap_or_default();
    let inner: &[u8] = field.split(|b| *b == 0).next().unwrap_or_default();
    if inner != name.as_bytes() {
        let inner = if inner.is_empty() { "nothing".to_owned() } else { format!("`{}`", show(inner)) };
        return Err(bad(format!("the module calls itself `{name}` in .modinfo and {inner} in its module structure"))
            .remedy("it was altered after it was built: take the original"));
    }
    Ok(data.len() as u64)
}
