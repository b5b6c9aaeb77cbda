//! The ELF object behind a module, checked part by part before anything is read out of it.

use super::{FETCH_AGAIN, Machine, bad, sniff};
use crate::error::{Error, Result};
use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, SectionHeader64, Sym64};
use object::read::elf::{FileHeader, Rela, SectionHeader, Sym, SymbolTable};
use object::{SectionIndex, SymbolIndex};

type Header = FileHeader64<LE>;

const HEADER: usize = size_of::<Header>();
const SECTION_HEADER: u64 = size_of::<SectionHeader64<LE>>() as u64;

pub(crate) struct Elf<'a> {
    pub machine: Machine,
    /// Where the object ends by its own account.
    pub end: u64,
    bytes: &'a [u8],
    sections: Vec<(&'a [u8], &'a SectionHeader64<LE>)>,
    symbols: SymbolTable<'a, Header>,
    strings: &'a [u8],
}

/// One row of the symbol table with its name.
pub(crate) struct Symbol<'a> {
    pub name: &'a [u8],
    row: &'a Sym64<LE>,
}

/// Longest name of a section or symbol. The kernel's own bound is 512; any bound keeps a file from
/// giving a million symbols one name of many megabytes.
const NAME_MAX: usize = 1024;

impl<'a> Elf<'a> {
    /// A 64-bit little-endian relocatable object whose every section lies within the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Elf<'a>> {
        let header = header(bytes)?;
        let size = bytes.len() as u64;
        let table_end = section_table_end(header, size)?;
        let table = header.sections(LE, bytes).map_err(malformed("section table"))?;
        let names = table
            .section(SectionIndex(usize::from(header.e_shstrndx.get(LE))))
            .and_then(|s| s.data(LE, bytes))
            .map_err(malformed("section names"))?;
        let mut sections = Vec::with_capacity(table.len());
        let mut end = table_end;
        for section in table.iter().skip(1) {
            let name = text_at(names, section.sh_name.get(LE), "section names")?;
            sections.push((name, section));
            let Some((offset, length)) = section.file_range(LE) else {
                continue;
            };
            let section_end = offset.saturating_add(length);
            if section_end > size {
                return Err(bad(format!(
                    "the file is cut short in section {}: {size} bytes of at least {section_end}",
                    show(name)
                ))
                .remedy(FETCH_AGAIN));
            }
            end = end.max(section_end);
        }
        let symbols = table.symbols(LE, bytes, elf::SHT_SYMTAB).map_err(malformed("symbol table"))?;
        let strings = match symbols.is_empty() {
            true => &[],
            false => table
                .section(symbols.string_section())
                .and_then(|s| s.data(LE, bytes))
                .map_err(malformed("symbol names"))?,
        };
        let machine = Machine::from_elf(header.e_machine.get(LE));
        Ok(Elf { machine, end, bytes, sections, symbols, strings })
    }

    /// The data of the section of that name, which may be there once at most.
    pub fn section(&self, name: &str) -> Result<Option<&'a [u8]>> {
        match self.header(name)? {
            Some(section) => section.data(LE, self.bytes).map(Some).map_err(malformed(name)),
            None => Ok(None),
        }
    }

    /// Whether there is more than the null entry that every symbol table starts with.
    pub fn has_symbols(&self) -> bool {
        self.symbols.len() > 1
    }

    pub fn symbols(&self) -> impl Iterator<Item = Result<Symbol<'a>>> {
        self.symbols.iter().skip(1).map(|row| Ok(Symbol { name: self.name(row)?, row }))
    }

    /// The 32-bit value that a symbol of this object stands for or points to.
    pub fn word_at(&self, symbol: &Symbol<'a>) -> Option<u32> {
        let value = symbol.row.st_value.get(LE);
        let index = symbol.row.st_shndx.get(LE);
        if index == elf::SHN_ABS {
            return u32::try_from(value).ok();
        }
        // The null section is not in the list.
        let (_, section) = self.sections.get(usize::from(index).checked_sub(1)?)?;
        word(section.data(LE, self.bytes).ok()?, usize::try_from(value).ok()?)
    }

    /// Names of the symbols that the relocations of `section` refer to, with the offset of each.
    pub fn relocations(&self, section: &str) -> Result<Vec<(u64, &'a [u8])>> {
        let name = format!(".rela{section}");
        let Some(header) = self.header(&name)? else {
            return Ok(Vec::new());
        };
        let Some((rows, _)) = header.rela(LE, self.bytes).map_err(malformed(&name))? else {
            return Ok(Vec::new());
        };
        let resolve = |row: &elf::Rela64<LE>| {
            let index = SymbolIndex(row.r_sym(LE, false) as usize);
            let symbol = self.symbols.symbol(index).map_err(malformed(&name))?;
            Ok((row.r_offset(LE), self.name(symbol)?))
        };
        rows.iter().map(resolve).collect()
    }

    fn header(&self, name: &str) -> Result<Option<&'a SectionHeader64<LE>>> {
        let mut matching = self.sections.iter().filter(|(n, _)| *n == name.as_bytes());
        let first = matching.next().map(|(_, section)| *section);
        match matching.next() {
            Some(_) => Err(bad(format!("the module has two sections {name}")).remedy(FETCH_AGAIN)),
            None => Ok(first),
        }
    }

    fn name(&self, row: &Sym64<LE>) -> Result<&'a [u8]> {
        text_at(self.strings, row.st_name.get(LE), "symbol names")
    }
}

impl Symbol<'_> {
    pub fn is_import(&self) -> bool {
        self.row.is_undefined(LE) && !self.name.is_empty()
    }

    /// The kernel leaves a weak import unresolved when nothing exports it.
    pub fn is_weak(&self) -> bool {
        self.row.is_weak()
    }
}

/// The 32-bit little-endian word at an offset.
pub(crate) fn word(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Bytes out of a file, made fit for a terminal.
pub(crate) fn show(bytes: &[u8]) -> String {
    let clipped = bytes.get(..80).unwrap_or(bytes);
    clipped.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '?' }).collect()
}

/// A zero-closed string in a string table.
fn text_at<'a>(strings: &'a [u8], offset: u32, part: &str) -> Result<&'a [u8]> {
    let text = strings.get(offset as usize..).unwrap_or_default();
    let window = text.get(..=NAME_MAX).unwrap_or(text);
    match window.iter().position(|b| *b == 0) {
        Some(end) => Ok(&window[..end]),
        // A table may be left out when nothing has a name.
        None if offset == 0 && strings.is_empty() => Ok(b""),
        None => Err(damaged(part, "a name leaves its table or is too long")),
    }
}

fn section_table_end(header: &Header, size: u64) -> Result<u64> {
    let (start, count) = (header.e_shoff.get(LE), u64::from(header.e_shnum.get(LE)));
    if start == 0 || count == 0 {
        return Err(bad("the ELF object has no section table").remedy(FETCH_AGAIN));
    }
    if u64::from(header.e_shentsize.get(LE)) != SECTION_HEADER {
        return Err(bad("the ELF section headers have a wrong size").remedy(FETCH_AGAIN));
    }
    let end = start.saturating_add(count * SECTION_HEADER);
    if end > size {
        return Err(bad(format!("the file is cut short at the section table: {size} bytes of at least {end}"))
            .remedy(FETCH_AGAIN));
    }
    Ok(end.max(HEADER as u64))
}

fn header(bytes: &[u8]) -> Result<&Header> {
    if bytes.is_empty() {
        return Err(bad("the file is empty").remedy(FETCH_AGAIN));
    }
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(sniff::not_elf(bytes));
    }
    let class = bytes.get(4).copied().unwrap_or(elf::ELFCLASS64);
    if class == elf::ELFCLASS32 {
        return Err(wrong_build("a 32-bit module"));
    }
    let order = bytes.get(5).copied().unwrap_or(elf::ELFDATA2LSB);
    if order == elf::ELFDATA2MSB {
        return Err(wrong_build("a big-endian module"));
    }
    if bytes.len() < HEADER {
        return Err(bad(format!("the file is cut short in the ELF header: {} bytes of {HEADER}", bytes.len()))
            .remedy(FETCH_AGAIN));
    }
    let header = Header::parse(bytes).map_err(malformed("ELF header"))?;
    match header.e_type.get(LE) {
        elf::ET_REL => Ok(header),
        kind => {
            let what = match kind {
                elf::ET_EXEC => "an executable program",
                elf::ET_DYN => "a shared library or program",
                elf::ET_CORE => "a core dump",
                _ => "an ELF file of unknown type",
            };
            Err(bad(format!("the file is {what}, not a relocatable object as a kernel module is"))
                .remedy("name the amneziawg.ko file"))
        }
    }
}

fn wrong_build(what: &str) -> Error {
    bad(format!("the file is {what}; this program installs 64-bit little-endian modules only"))
        .remedy("take the module built for x86_64 or aarch64")
}

fn malformed(part: &str) -> impl Fn(object::read::Error) -> Error {
    move |cause| damaged(part, cause)
}

fn damaged(part: &str, cause: impl std::fmt::Display) -> Error {
    bad(format!("the ELF object is damaged ({part})")).cause(cause).remedy(FETCH_AGAIN)
}
