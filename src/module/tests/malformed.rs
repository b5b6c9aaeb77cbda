//! Every way in which a file can fail to be a module has an error of its own.

use crate::error::Kind;
use crate::module::fixture::*;
use crate::module::{Limits, inspect};
use object::{Architecture, Object, ObjectSection};

pub(super) type Case = (&'static str, Vec<u8>, &'static str);

#[test]
fn each_kind_has_its_own_error() {
    let cases: Vec<Case> = [no_module(), broken_elf(), broken_parts()].concat();
    all_refused(&cases);
}

/// Each case is refused with its own words, a remedy, the right kind, and each part in one line.
pub(super) fn all_refused(cases: &[Case]) {
    for (label, bytes, says) in cases {
        let error = inspect(bytes, &Limits::default()).expect_err(label);
        let shown = error.to_string();
        assert!(shown.contains(says), "{label}: {shown}");
        assert_eq!(error.kind, Kind::Artifact, "{label}");
        assert!(error.remedy.is_some(), "{label} has no remedy");
        // What a file holds must not reach the terminal raw.
        for part in [Some(&error.message), error.cause.as_ref(), error.remedy.as_ref()].into_iter().flatten() {
            assert!(!part.chars().any(char::is_control), "{label}: not one line: {part:?}");
        }
    }
}

fn no_module() -> Vec<Case> {
    let mut tar = vec![0; 1024];
    tar[..4].copy_from_slice(b"a.ko");
    tar[257..262].copy_from_slice(b"ustar");
    vec![
        ("empty", vec![], "the file is empty"),
        ("zero bytes", vec![0; 4096], "only zero bytes"),
        ("html page", b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>Log in".to_vec(), "HTML page"),
        ("html without doctype", b"<html lang=en>404".to_vec(), "HTML page"),
        ("json", b"{\"message\": \"Not Found\"}".to_vec(), "is text"),
        ("xml", b"<?xml version=\"1.0\"?><Error>AccessDenied</Error>".to_vec(), "is text"),
        ("plain text", b"404: Not Found\n".to_vec(), "is text"),
        ("lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00".to_vec(), "Git LFS pointer"),
        ("tar archive", tar.clone(), "a tar archive"),
        ("compressed tar", gzip(&tar), "a tar archive"),
        ("deb package", b"!<arch>\ndebian-binary".to_vec(), "an ar archive"),
        ("zip archive", b"PK\x03\x04rest".to_vec(), "a zip archive"),
        ("bzip2", b"BZh91AY&SY".to_vec(), "kmod does not read"),
        ("kernel image", b"MZ\xea\x07\x00\xc0".to_vec(), "a kernel image"),
        ("noise", vec![0x9b, 0x01, 0xff, 0x80, 0x77], "not an ELF object"),
    ]
}

fn broken_elf() -> Vec<Case> {
    let whole = good().bytes();
    let elf_type = |kind: u16| patched(16, &kind.to_le_bytes());
    vec![
        ("magic only", whole[..4].to_vec(), "cut short in the ELF header"),
        ("cut in the header", whole[..63].to_vec(), "cut short in the ELF header"),
        ("cut after the header", whole[..64].to_vec(), "cut short at the section table"),
        ("one byte short", whole[..whole.len() - 1].to_vec(), "cut short at the section table"),
        ("32-bit", patched(4, &[1]), "a 32-bit module"),
        ("big-endian", patched(5, &[2]), "a big-endian module"),
        ("impossible class", patched(4, &[7]), "damaged (ELF header)"),
        ("program", elf_type(2), "an executable program"),
        ("shared library", elf_type(3), "a shared library"),
        ("core dump", elf_type(4), "a core dump"),
        ("no section table", patched(40, &[0; 8]), "no section table"),
        ("no sections", patched(60, &[0; 2]), "no section table"),
        ("section table far away", patched(40, &[0xff; 8]), "cut short at the section table"),
        ("odd section headers", patched(58, &[40, 0]), "wrong size"),
        ("no section names", patched(62, &[0xf0, 0xff]), "damaged (section table)"),
    ]
}

fn broken_parts() -> Vec<Case> {
    let raw_info =
        |data: &[u8]| good().change(|b| (b.modinfo, b.extra) = (None, vec![(".modinfo", data.to_vec())])).bytes();
    let raw_versions = |data: Vec<u8>| {
        good()
            .change(|b| b.extra = vec![("__versions", data)])
            .change(|b| (b.versions, b.unversioned) = (vec![], vec!["kfree"]))
            .bytes()
    };
    let mut unclosed = version_rows(&SYMBOLS);
    unclosed[8..64].fill(b'x');
    let mut wide = version_rows(&SYMBOLS);
    wide[4] = 1;
    let twice = version_rows(&[("module_layout", 1), ("module_layout", 2)]);
    let half = good().change(|b| b.extended = true).change(|b| b.extra = vec![("__version_ext_crcs", vec![0; 4])]);
    vec![
        ("no .modinfo", good().change(|b| b.modinfo = None).bytes(), "no .modinfo section"),
        (
            "two .modinfo",
            good().change(|b| b.extra = vec![(".modinfo", b"a=b\0".to_vec())]).bytes(),
            "two sections .modinfo",
        ),
        ("empty .modinfo", raw_info(b""), ".modinfo section is empty"),
        ("unclosed .modinfo", raw_info(b"name=amneziawg"), "not closed"),
        ("nonsense in .modinfo", raw_info(b"name\0"), "has no `=`"),
        ("binary in .modinfo", raw_info(b"name=\xff\xfe\0"), "is damaged"),
        ("no vermagic", good().without("vermagic").bytes(), "no vermagic"),
        ("empty vermagic", good().with("vermagic", " ").bytes(), "no vermagic"),
        ("vermagic with escape", good().with("vermagic", "6.12.50\x1b[2J SMP").bytes(), "control characters"),
        ("no name", good().without("name").bytes(), "has no name"),
        ("name with a path", good().with("name", "../../etc/passwd").bytes(), "not a possible module name"),
        ("name too long", good().with("name", &"a".repeat(56)).bytes(), "not a possible module name"),
        ("two names", raw_info(b"name=amneziawg\0name=other\0vermagic=6.12.50-0-lts SMP\0"), "given twice"),
        (
            "renamed in .modinfo",
            good().change(|b| b.inner_name = Some("wireguard")).bytes(),
            "`wireguard` in its module structure",
        ),
        ("nameless structure", good().change(|b| b.inner_name = Some("")).bytes(), "nothing in its module structure"),
        ("unlinked object", good().change(|b| b.inner_name = None).bytes(), "no finished kernel module"),
        ("odd dependency", good().with("depends", "udp_tunnel,;reboot").bytes(), "no module name"),
        ("no symbol table", good().change(|b| b.symbols = false).bytes(), "no symbol table"),
        ("versions cut", raw_versions(version_rows(&SYMBOLS)[..100].to_vec()), "no whole number of rows"),
        ("versions unclosed", raw_versions(unclosed), "is not closed"),
        ("versions too wide", raw_versions(wide), "wider than 32 bits"),
        ("versions contradict", raw_versions(twice), "two different CRCs"),
        ("versions nameless", raw_versions(version_rows(&[("", 1)])), "not a possible symbol name"),
        ("versions with escape", raw_versions(version_rows(&[("a\x1b[2J", 1)])), "not a possible symbol name"),
        ("extended twice", half.bytes(), "two sections __version_ext_crcs"),
        ("extended by half", good().change(|b| b.extra = vec![("__version_ext_crcs", vec![0; 4])]).bytes(), "one half"),
        ("extended miscounted", extended(&[0; 8], b"one\0"), "1 names for 2 CRCs"),
        ("extended unclosed", extended(&[0; 4], b"one"), "is cut"),
    ]
}

#[test]
fn every_section_that_leaves_the_file_is_named() {
    let whole = good().bytes();
    let file = object::File::parse(&*whole).expect("a whole object");
    let table = u64::from_le_bytes(whole[40..48].try_into().expect("eight bytes")) as usize;
    let mut seen = 0;
    for section in file.sections() {
        let name = section.name().expect("a name");
        let size_field = table + section.index().0 * 64 + 32;
        let mut bytes = whole.clone();
        bytes[size_field..size_field + 8].copy_from_slice(&(whole.len() as u64).to_le_bytes());
        let shown = inspect(&bytes, &Limits::default()).expect_err(name).to_string();
        // Without their table no section has a name.
        let expected = if name == ".shstrtab" { "damaged" } else { "cut short in section" };
        assert!(shown.contains(expected), "{name}: {shown}");
        assert!(name == ".shstrtab" || shown.contains(name), "{name}: {shown}");
        seen += 1;
    }
    assert!(seen >= 7, "{seen} sections");
}

#[test]
fn another_machine_is_reported_and_not_an_error() {
    let riscv = good().change(|b| b.machine = Architecture::Riscv64).bytes();
    let module = inspect(&riscv, &Limits::default()).expect("readable");
    assert_eq!(module.machine.to_string(), "riscv");
}

fn patched(offset: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = good().bytes();
    bytes[offset..offset + value.len()].copy_from_slice(value);
    bytes
}

fn extended(crcs: &[u8], names: &[u8]) -> Vec<u8> {
    let extra = vec![("__version_ext_crcs", crcs.to_vec()), ("__version_ext_names", names.to_vec())];
    good().change(|b| b.extra = extra).bytes()
}
