//! Small ELF files that are kernel modules as far as modinfo can tell.

use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// A module in the making.
#[derive(Clone)]
pub struct Build {
    pub machine: Architecture,
    pub name: String,
    pub vermagic: String,
    pub info: Vec<(&'static str, String)>,
    /// Symbols it imports, with their CRCs.
    pub versions: Vec<(&'static str, u32)>,
}

const SYMBOLS: [(&str, u32); 4] = [
    ("module_layout", 0x3f2d_4e8a),
    ("register_netdevice", 0x3fd4_d2ab),
    ("rtnl_link_register", 0x7d2c_9e10),
    ("udp_sock_create4", 0x8de2_b1c3),
];

/// amneziawg for 6.12.50-0-lts.
pub fn good() -> Build {
    amneziawg("6.12.50-0-lts")
}

pub fn amneziawg(release: &str) -> Build {
    let info = [
        ("alias", "rtnl-link-amneziawg"),
        ("alias", "net-pf-16-proto-16-family-amneziawg"),
        ("version", "1.0.0"),
        ("license", "GPL v2"),
        ("srcversion", "0123456789ABCDEF0123456"),
        (
            "depends",
            "udp_tunnel,ip6_udp_tunnel,libchacha20poly1305,chacha-x86_64,curve25519-x86_64,libcurve25519-generic",
        ),
    ];
    build("amneziawg", release, &info)
}

/// The kernel's own wireguard, which shows what the kernel's symbols look like.
pub fn wireguard(release: &str) -> Build {
    build("wireguard", release, &[("license", "GPL v2"), ("intree", "Y"), ("alias", "rtnl-link-wireguard")])
}

fn build(name: &str, release: &str, info: &[(&'static str, &str)]) -> Build {
    Build {
        machine: Architecture::X86_64,
        name: name.into(),
        vermagic: format!("{release} SMP preempt mod_unload modversions "),
        info: info.iter().map(|(key, value)| (*key, (*value).to_string())).collect(),
        versions: SYMBOLS.to_vec(),
    }
}

impl Build {
    pub fn bytes(&self) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, self.machine, Endianness::Little);
        let mut section = |name: &str, data: &[u8]| {
            let segment = object.segment_name(StandardSegment::Data).to_vec();
            let id = object.add_section(segment, name.as_bytes().to_vec(), SectionKind::ReadOnlyData);
            object.append_section_data(id, data, 8);
        };
        section(".text", &[0xc3; 16]);
        let mut info: String = self.info.iter().map(|(key, value)| format!("{key}={value}\0")).collect();
        info.push_str(&format!("name={}\0vermagic={}\0", self.name, self.vermagic));
        section(".modinfo", info.as_bytes());
        let mut this = vec![0; 0x440];
        this[24..24 + self.name.len()].copy_from_slice(self.name.as_bytes());
        section(".gnu.linkonce.this_module", &this);
        let rows: Vec<u8> = self.versions.iter().flat_map(|(name, crc)| row(name, *crc)).collect();
        section("__versions", &rows);
        for (name, _) in &self.versions {
            object.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value: 0,
                size: 0,
                kind: SymbolKind::Data,
                scope: SymbolScope::Dynamic,
                weak: false,
                section: SymbolSection::Undefined,
                flags: SymbolFlags::None,
            });
        }
        object.write().expect("an object that can be written")
    }
}

fn row(name: &str, crc: u32) -> [u8; 64] {
    let mut row = [0; 64];
    row[..4].copy_from_slice(&crc.to_le_bytes());
    row[8..8 + name.len()].copy_from_slice(name.as_bytes());
    row
}
