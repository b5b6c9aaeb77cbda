//! Modules that must not get in: each is refused with words of its own and exit code 5, and nothing is written.

mod support;

#[allow(dead_code, reason = "the tests of src/module use the rest")]
#[path = "../src/module/fixture.rs"]
mod fixture;

use std::collections::BTreeMap;

use fixture::{Build, good, gzip, signed, version_rows, xz, xz_asking_for, zstd, zstd_bomb};
use object::Architecture;
use support::{CONFIG, CONFIG_TEXT, MODULE, Ran, Root, VIRT, module};

/// What it is, the file, and words that only its refusal says.
type Case = (&'static str, Vec<u8>, &'static str);

/// Where the program writes down that it ran.
const IGNORED: [&str; 3] = ["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];

/// Puts each file in the module's place and installs: refused with `code`, and the host is as it was.
fn refuse_all(root: &Root, code: i32, cases: &[Case]) {
    let mut said: BTreeMap<String, &str> = BTreeMap::new();
    for (label, bytes, words) in cases {
        root.write_bytes(MODULE, bytes);
        let before = root.tree().without(&IGNORED);
        let Ran { err, code: got, out } = root.install();
        assert_eq!(got, code, "{label}\n--- out\n{out}\n--- err\n{err}");
        before.assert_same(&root.tree().without(&IGNORED), label);
        assert!(err.contains(words), "{label}: {words:?} is not said: {err}");
        assert_eq!(err.lines().filter(|l| l.starts_with("error:")).count(), 1, "{label}: {err}");
        assert!(!err.chars().any(|c| c.is_control() && c != '\n'), "{label}: {err:?}");
        if let Some(other) = said.insert(err, label) {
            panic!("{label} and {other} are told apart by nothing");
        }
    }
}

/// All that can be known before the kernel it is for is there.
#[test]
fn broken_files_and_wrong_builds_write_nothing() {
    let root = Root::fresh();
    let config =
        format!("kernel:\n  release: 6.12.50-0-lts\n{CONFIG_TEXT}  denied_srcversions: [BADBADBADBADBADBADBADBA]\n");
    root.write(CONFIG, &config);
    let cases = [no_modules(), packed(), damaged(), other_builds()].concat();
    assert!(cases.len() >= 40, "{}", cases.len());
    refuse_all(&root, 5, &cases);
    // It is for the module's sake alone that they were refused.
    root.write_bytes(MODULE, &good().bytes());
    root.install().expect(0);
}

#[test]
fn a_module_that_is_cut_anywhere_writes_nothing() {
    use object::{Object, ObjectSection};
    let root = Root::fresh();
    let whole = good().bytes();
    let file = object::File::parse(&*whole).expect("a whole object");
    let ends: Vec<usize> =
        file.sections().filter_map(|s| s.file_range()).map(|(at, size)| (at + size) as usize).collect();
    assert!(ends.len() >= 6, "{ends:?}");
    let cuts: Vec<Case> = ends
        .iter()
        .map(|end| ("cut in a section", whole[..end - 1].to_vec(), "cut short at the section table"))
        .chain([
            ("cut in the header", whole[..50].to_vec(), "cut short in the ELF header"),
            ("cut in its table", whole[..whole.len() - 10].to_vec(), "cut short at the section table"),
        ])
        .collect();
    refuse_all(&root, 5, &cuts);
    // With the table in front, as some linkers write it, the section that was cut has a name.
    for name in [".modinfo", "__versions", ".gnu.linkonce.this_module", ".symtab"] {
        let mut cut = whole.clone();
        let (at, _) = fixture::section_range(&whole, name);
        stretch(&mut cut, at as u64);
        let words: &'static str = Box::leak(format!("cut short in section {name}").into_boxed_str());
        refuse_all(&root, 5, &[("cut section", cut, words)]);
    }
}

/// Where the kernel is installed, its own modules show what it takes.
#[test]
fn a_module_that_the_kernel_would_not_take_writes_nothing() {
    let root = Root::fresh();
    let base = format!("/lib/modules/{VIRT}/kernel/drivers/net/wireguard/wireguard.ko.gz");
    root.write_bytes(&base, &module::wireguard(VIRT).bytes());
    let fits = || good().with("vermagic", "6.12.50-0-virt SMP preempt mod_unload modversions ");
    let vermagic = |flags: &str| good().with("vermagic", &format!("{VIRT} {flags} ")).bytes();
    let crc = |name: &'static str| {
        fits().change(|b| b.versions.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, crc)| *crc ^= 1)).bytes()
    };
    let cases: Vec<Case> = vec![
        ("a flag less", vermagic("SMP mod_unload modversions"), "the module lacks `preempt`"),
        ("a flag more", vermagic("SMP preempt mod_unload modversions RANDSTRUCT"), "the module adds `RANDSTRUCT`"),
        ("another order", vermagic("preempt SMP mod_unload modversions"), "the flags are `preempt SMP"),
        ("one CRC", crc("register_netdevice"), "1 of its 8 symbols have another CRC in the kernel: register_netdevice"),
        ("another layout", crc("module_layout"), "another CRC in the kernel: module_layout"),
        (
            "no versions",
            fits().change(|b| b.unversioned = b.versions.drain(..).map(|(n, _)| n).collect()).bytes(),
            "carries no symbol versions",
        ),
        ("other structure", fits().change(|b| b.struct_size = 0x480).bytes(), "its module structure has 1152 bytes"),
        ("missing dependency", fits().with("depends", "udp_tunnel,libnowhere").bytes(), "does not have: libnowhere"),
        ("not free", fits().with("license", "Proprietary").bytes(), "its licence (Proprietary)"),
        ("no such links", fits().without("alias").bytes(), "no alias rtnl-link-amneziawg"),
    ];
    refuse_all(&root, 5, &cases);
    // The plan says the same, without a trace.
    root.run(&["plan", "--config", CONFIG]).expect(5).says("rtnl-link-amneziawg");

    // All that the kernel exports is known where its headers are.
    let symvers: String =
        fixture::SYMBOLS.iter().map(|(name, crc)| format!("{crc:#010x}\t{name}\tvmlinux\tEXPORT\t\n")).collect();
    root.write(&format!("/usr/src/linux-headers-{VIRT}/Module.symvers"), &symvers);
    let gone = fits().change(|b| b.versions.push(("gone_since", 7))).bytes();
    refuse_all(&root, 5, &[("a symbol that is gone", gone, "do not exist in the kernel: gone_since")]);

    // What the kernel's policy refuses is no fault of the file: it decides the mode.
    root.write(CONFIG, &format!("fallback: fail\n{CONFIG_TEXT}"));
    let unsigned = [("not signed", fits().bytes(), "refuses modules that are not signed")];
    root.write("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    refuse_all(&root, 4, &unsigned);
    root.write("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    root.write("/sys/module/module/parameters/sig_enforce", "Y\n");
    refuse_all(&root, 4, &unsigned);
    root.write("/sys/module/module/parameters/sig_enforce", "N\n");
    root.install().expect(0).says("runs in kernel mode on 6.12.50-0-virt");
}

fn no_modules() -> Vec<Case> {
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    vec![
        ("empty", vec![], "the file is empty"),
        ("zero bytes", vec![0; 4096], "only zero bytes"),
        ("HTML page", b"<!DOCTYPE html><html><body>Log in".to_vec(), "HTML page"),
        ("error message", b"{\"message\": \"Not Found\"}".to_vec(), "is text"),
        ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "Git LFS pointer"),
        ("tar archive", tar, "a tar archive"),
        ("deb package", b"!<arch>\ndebian-binary".to_vec(), "an ar archive"),
        ("zip archive", b"PK\x03\x04rest".to_vec(), "a zip archive"),
        ("bzip2", b"BZh91AY&SY".to_vec(), "kmod does not read"),
        ("kernel image", b"MZ\xea\x07\x00\xc0".to_vec(), "a kernel image"),
        ("noise", vec![0x9b, 0x01, 0xff, 0x80, 0x77], "not an ELF object"),
    ]
}

fn packed() -> Vec<Case> {
    let whole = good().bytes();
    let (gz, xz, zst) = (gzip(&whole), xz(&whole), zstd(&whole));
    let spoilt = |mut bytes: Vec<u8>| {
        let at = bytes.len() - 6;
        bytes[at] ^= 0xff;
        bytes
    };
    vec![
        ("gzip cut", gz[..gz.len() / 2].to_vec(), "gzip data is cut short"),
        ("gzip spoilt", spoilt(gz.clone()), "gzip data is damaged"),
        ("gzip with more", [&gz[..], b"more"].concat(), "4 stray bytes follow the gzip data"),
        ("gzip of nothing", gzip(b""), "unpacks to nothing"),
        ("gzip bomb", gzip(&vec![0; 8 << 20]), "a decompression bomb"),
        ("xz cut", xz[..xz.len() / 2].to_vec(), "xz data is cut short"),
        ("xz spoilt", spoilt(xz.clone()), "xz data is damaged"),
        ("xz that asks for 4 GiB", xz_asking_for(&xz, 40), "asks for a dictionary of more than"),
        ("zstd cut", zst[..zst.len() / 2].to_vec(), "zstd data is cut short"),
        ("zstd bomb", zstd_bomb(512), "zstd file of 2054 bytes unpacks to more than"),
        ("zstd that asks for 2 TiB", b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00".to_vec(), "asks for a window"),
    ]
}

fn damaged() -> Vec<Case> {
    let at = |offset: usize, value: &[u8]| {
        let mut bytes = good().bytes();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        bytes
    };
    let info =
        |data: &[u8]| good().change(|b| (b.modinfo, b.extra) = (None, vec![(".modinfo", data.to_vec())])).bytes();
    let versions = |data: Vec<u8>| {
        good()
            .change(|b| (b.versions, b.unversioned, b.extra) = (vec![], vec!["kfree"], vec![("__versions", data)]))
            .bytes()
    };
    let signature = signed(good().bytes(), &[10, 11]);
    vec![
        ("32-bit", at(4, &[1]), "a 32-bit module"),
        ("big-endian", at(5, &[2]), "a big-endian module"),
        ("program", at(16, &[2, 0]), "an executable program"),
        ("no sections", at(60, &[0; 2]), "no section table"),
        ("no .modinfo", good().change(|b| b.modinfo = None).bytes(), "no .modinfo section"),
        ("unclosed .modinfo", info(b"name=amneziawg"), "not closed"),
        ("two names", info(b"name=amneziawg\0name=other\0vermagic=6.12.50-0-lts SMP\0"), "given twice"),
        ("no vermagic", good().without("vermagic").bytes(), "no vermagic"),
        ("no name", good().without("name").bytes(), "has no name"),
        ("unlinked object", good().change(|b| b.inner_name = None).bytes(), "no .gnu.linkonce.this_module section"),
        ("no symbol table", good().change(|b| b.symbols = false).bytes(), "no symbol table"),
        ("odd dependency", good().with("depends", "udp_tunnel,;reboot").bytes(), "no module name"),
        ("versions cut", versions(version_rows(&fixture::SYMBOLS)[..100].to_vec()), "no whole number of rows"),
        ("versions disagree", versions(version_rows(&[("one", 1), ("one", 2)])), "two different CRCs"),
        ("signature cut", signature[..signature.len() - 5].to_vec(), "stray bytes follow the module"),
        ("signature alone", b"~Module signature appended~\n".to_vec(), "signature is damaged"),
    ]
}

/// Sound modules that are not the one for this host.
fn other_builds() -> Vec<Case> {
    let renamed = |name: &'static str| good().change(|b| b.inner_name = Some(name));
    let denied: Build = good().with("srcversion", "BADBADBADBADBADBADBADBA");
    vec![
        ("other machine", good().change(|b| b.machine = Architecture::Aarch64).bytes(), "it was built for aarch64"),
        ("other module", renamed("wireguard").with("name", "wireguard").bytes(), "a module called wireguard"),
        ("other module, renamed", renamed("wireguard").bytes(), "`wireguard` in its module structure"),
        (
            "other release",
            good().with("vermagic", "6.12.51-0-lts SMP preempt mod_unload modversions ").bytes(),
            "it was built for 6.12.51-0-lts",
        ),
        (
            "other flavour",
            good().with("vermagic", "6.12.50-0-virt SMP preempt mod_unload modversions ").bytes(),
            "it was built for 6.12.50-0-virt",
        ),
        ("denied", denied.bytes(), "its srcversion is listed in module.denied_srcversions"),
    ]
}

/// Has the section that begins at `at` claim as many bytes as the whole file.
fn stretch(bytes: &mut [u8], at: u64) {
    let word = |bytes: &[u8], from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
    let (table, size) = (word(bytes, 40) as usize, bytes.len() as u64);
    let header = (table..bytes.len()).step_by(64).find(|h| word(bytes, h + 24) == at).expect("the section");
    bytes[header + 32..header + 40].copy_from_slice(&size.to_le_bytes());
}
