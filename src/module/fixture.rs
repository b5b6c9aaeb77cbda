//! Kernel modules made on the spot, whole or broken in one chosen way.

use object::write::{Object, Relocation, StandardSegment, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use std::io::Write;

pub const RELEASE: &str = "6.12.50-0-lts";
pub const VERMAGIC: &str = "6.12.50-0-lts SMP preempt mod_unload modversions ";
pub const SRCVERSION: &str = "0123456789ABCDEF0123456";

#[derive(Clone)]
pub struct Build {
    pub machine: Architecture,
    pub modinfo: Option<Vec<(&'static str, String)>>,
    /// Name inside `struct module`; no such section when `None`.
    pub inner_name: Option<&'static str>,
    pub struct_size: usize,
    pub versions: Vec<(&'static str, u32)>,
    pub extended: bool,
    pub weak: Vec<&'static str>,
    pub unversioned: Vec<&'static str>,
    pub exports: Vec<(&'static str, u32)>,
    /// Whether the local `__crc_` symbols are there, which a hard strip removes.
    pub crc_symbols: bool,
    pub symbols: bool,
    /// Sections to add as they are.
    pub extra: Vec<(&'static str, Vec<u8>)>,
}

/// A module that fits [`target`](super::tests::target).
pub fn good() -> Build {
    let info = [
        ("alias", "net-pf-16-proto-16-family-amneziawg"),
        ("alias", "rtnl-link-amneziawg"),
        ("version", "1.0.0"),
        ("license", "GPL v2"),
        ("srcversion", SRCVERSION),
        ("depends", "udp_tunnel,libchacha20poly1305,curve25519-x86_64"),
        ("name", "amneziawg"),
        ("vermagic", VERMAGIC),
    ];
    Build {
        machine: Architecture::X86_64,
        modinfo: Some(info.map(|(key, value)| (key, value.to_owned())).to_vec()),
        inner_name: Some("amneziawg"),
        struct_size: 0x440,
        versions: SYMBOLS.to_vec(),
        extended: false,
        weak: vec![],
        unversioned: vec![],
        exports: vec![],
        crc_symbols: true,
        symbols: true,
        extra: vec![],
    }
}

pub const SYMBOLS: [(&str, u32); 8] = [
    ("__fentry__", 0xbdfb6dbb),
    ("__napi_schedule", 0x5759d801),
    ("chacha20poly1305_encrypt", 0x1c6ed4d9),
    ("kfree_skb_reason", 0x2d3c5cbb),
    ("module_layout", 0x3f2d4e8a),
    ("register_netdevice", 0x3fd4d2ab),
    ("rtnl_link_register", 0x7d2c9e10),
    ("udp_sock_create4", 0x8de2b1c3),
];

impl Build {
    pub fn with(mut self, key: &'static str, value: &str) -> Build {
        let info = self.modinfo.get_or_insert_default();
        info.retain(|(k, _)| *k != key);
        info.push((key, value.to_owned()));
        self
    }

    pub fn without(mut self, key: &'static str) -> Build {
        self.modinfo.get_or_insert_default().retain(|(k, _)| *k != key);
        self
    }

    pub fn change(mut self, change: impl FnOnce(&mut Build)) -> Build {
        change(&mut self);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, self.machine, Endianness::Little);
        let section = |object: &mut Object, name: &str, data: &[u8]| {
            let segment = object.segment_name(StandardSegment::Data).to_vec();
            let id = object.add_section(segment, name.as_bytes().to_vec(), SectionKind::ReadOnlyData);
            object.append_section_data(id, data, 8);
            id
        };
        let text = section(&mut object, ".text", &[0xc3; 256]);
        if let Some(info) = &self.modinfo {
            let entries: Vec<String> = info.iter().map(|(key, value)| format!("{key}={value}\0")).collect();
            section(&mut object, ".modinfo", entries.concat().as_bytes());
        }
        if let Some(name) = self.inner_name {
            let mut data = vec![0; self.struct_size];
            data[24..24 + name.len()].copy_from_slice(name.as_bytes());
            section(&mut object, ".gnu.linkonce.this_module", &data);
        }
        if self.extended {
            let crcs: Vec<u8> = self.versions.iter().flat_map(|(_, crc)| crc.to_le_bytes()).collect();
            let names: String = self.versions.iter().map(|(name, _)| format!("{name}\0")).collect();
            section(&mut object, "__version_ext_crcs", &crcs);
            section(&mut object, "__version_ext_names", names.as_bytes());
        } else if !self.versions.is_empty() {
            section(&mut object, "__versions", &version_rows(&self.versions));
        }
        for (name, data) in &self.extra {
            section(&mut object, name, data);
        }
        if self.symbols {
            let imports = self.versions.iter().map(|(name, _)| *name).chain(self.unversioned.iter().copied());
            imports.for_each(|name| _ = object.add_symbol(symbol(name, false)));
            self.weak.iter().for_each(|name| _ = object.add_symbol(symbol(name, true)));
        }
        if !self.exports.is_empty() {
            let crcs: Vec<u8> = self.exports.iter().flat_map(|(_, crc)| crc.to_le_bytes()).collect();
            let crcs = section(&mut object, "__kcrctab_gpl", &crcs);
            let table = section(&mut object, "__ksymtab_gpl", &vec![0; 12 * self.exports.len()]);
            for (index, (name, _)) in (0u64..).zip(&self.exports) {
                let defined = Symbol { section: SymbolSection::Section(text), ..symbol(name, false) };
                let defined = object.add_symbol(defined);
                let flags = RelocationFlags::Elf { r_type: object::elf::R_X86_64_PC32 };
                let reference = Relocation { offset: 12 * index, symbol: defined, addend: 0, flags };
                object.add_relocation(table, reference).expect("a relocation in the export table");
                if self.crc_symbols {
                    let section = SymbolSection::Section(crcs);
                    let scope = SymbolScope::Compilation;
                    let name = format!("__crc_{name}").into_bytes();
                    object.add_symbol(Symbol { name, section, scope, value: 4 * index, ..symbol("", false) });
                }
            }
        }
        object.write().expect("an object that can be written")
    }
}

pub fn version_rows(versions: &[(&str, u32)]) -> Vec<u8> {
    let row = |(name, crc): &(&str, u32)| {
        let mut row = [0; 64];
        row[..4].copy_from_slice(&crc.to_le_bytes());
        row[8..8 + name.len()].copy_from_slice(name.as_bytes());
        row
    };
    versions.iter().flat_map(row).collect()
}

fn symbol(name: &str, weak: bool) -> Symbol {
    Symbol {
        name: name.as_bytes().to_vec(),
        value: 0,
        size: 0,
        kind: SymbolKind::Data,
        scope: SymbolScope::Dynamic,
        weak,
        section: SymbolSection::Undefined,
        flags: SymbolFlags::None,
    }
}

/// Where a section's data lies in the file: its offset and size.
pub fn section_range(bytes: &[u8], name: &str) -> (usize, usize) {
    use object::{Object, ObjectSection};
    let file = object::File::parse(bytes).expect("a whole object");
    let section = file.section_by_name(name).expect("the section");
    let (offset, size) = section.file_range().expect("a section with data");
    (offset as usize, size as usize)
}

/// As `sign-file` does it: the message, a trailer, a marker. The message is DER up to the serial number.
pub fn signed(mut module: Vec<u8>, serial: &[u8]) -> Vec<u8> {
    let der = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let issuer_and_serial = der(0x30, &[der(0x30, b""), der(0x02, serial)].concat());
    let info = der(0x30, &[der(0x02, &[1]), issuer_and_serial].concat());
    let data = [der(0x02, &[1]), der(0x31, b""), der(0x30, b""), der(0x31, &info)].concat();
    let message = der(0x30, &[der(0x06, &[42]), der(0xa0, &der(0x30, &data))].concat());
    module.extend(&message);
    module.extend([0, 0, 2, 0, 0, 0, 0, 0]);
    module.extend((message.len() as u32).to_be_bytes());
    module.extend(b"~Module signature appended~\n");
    module
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip into memory")
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A zstd frame (window 1 MiB) of repeated zero bytes, 128 KiB for every four bytes of file.
pub fn zstd_bomb(blocks: usize) -> Vec<u8> {
    let block = |last: bool| ((128u32 << 10) << 3 | 1 << 1 | u32::from(last)).to_le_bytes();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3];
    for index in 1..=blocks {
        frame.extend(&block(index == blocks)[..3]);
        frame.push(0);
    }
    frame
}

/// An xz file that stores its data in plain LZMA2 chunks.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let crc = |data: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        crc.sum().to_le_bytes()
    };
    let flags = [0, 1];
    let mut file = [&[0xfd, b'7', b'z', b'X', b'Z', 0], &flags[..], &crc(&flags)].concat();
    let header = [2, 0, 0x21, 1, 8, 0, 0, 0];
    let mut block = [&header[..], &crc(&header)].concat();
    for (index, chunk) in bytes.chunks(1 << 16).enumerate() {
        block.push(if index == 0 { 1 } else { 2 });
        block.extend((chunk.len() as u16).wrapping_sub(1).to_be_bytes());
        block.extend(chunk);
    }
    block.push(0);
    let unpadded = block.len() + 4;
    block.resize(block.len().next_multiple_of(4), 0);
    block.extend(crc(bytes));
    file.extend(&block);
    let mut index = vec![0, 1];
    varint(unpadded, &mut index);
    varint(bytes.len(), &mut index);
    index.resize(index.len().next_multiple_of(4), 0);
    index.extend(crc(&index.clone()));
    file.extend(&index);
    let footer = [&((index.len() / 4 - 1) as u32).to_le_bytes()[..], &flags].concat();
    [file, crc(&footer).to_vec(), footer, b"YZ".to_vec()].concat()
}

/// The same xz file with another dictionary size in its header: 28 is 64 MiB, 40 is 4 GiB.
pub fn xz_asking_for(xz: &[u8], dictionary: u8) -> Vec<u8> {
    let mut bytes = xz.to_vec();
    bytes[16] = dictionary;
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..20]);
    bytes[20..24].copy_from_slice(&crc.sum().to_le_bytes());
    bytes
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
