//! Whole modules are read as they are, in every form in which they come.

use crate::module::fixture::*;
use crate::module::tests::target;
use crate::module::*;

fn read(bytes: &[u8]) -> Inspection {
    inspect(bytes, &Limits::default()).expect("a whole module")
}

#[test]
fn all_fields_are_read() {
    let bytes = good().bytes();
    let module = read(&bytes);
    assert_eq!(module.name, "amneziawg");
    assert_eq!(module.machine, Machine::X86_64);
    assert_eq!(module.vermagic.release, RELEASE);
    assert_eq!(module.vermagic.flags, ["SMP", "preempt", "mod_unload", "modversions"]);
    assert_eq!(module.depends, ["udp_tunnel", "libchacha20poly1305", "curve25519-x86_64"]);
    assert_eq!(module.aliases.len(), 2);
    assert_eq!((module.version.as_deref(), module.srcversion.as_deref()), (Some("1.0.0"), Some(SRCVERSION)));
    assert_eq!(module.imports, SYMBOLS.map(|(name, crc)| (name.to_owned(), crc)).into());
    assert_eq!((module.size, module.uncompressed_size), (bytes.len() as u64, bytes.len() as u64));
    assert_eq!(module.struct_size, 0x440);
    assert!(!module.signed && !module.in_tree && module.unversioned.is_empty() && module.weak.is_empty());
}

#[test]
fn compressed_forms_hold_the_same_module() {
    let plain = good().bytes();
    let expected = read(&plain);
    for (packed, compression) in
        [(gzip(&plain), Compression::Gzip), (xz(&plain), Compression::Xz), (zstd(&plain), Compression::Zstd)]
    {
        let (module, unpacked) = open(&packed, &Limits::default()).expect("a whole module");
        assert_eq!(*unpacked, *plain);
        assert_eq!(module.compression, compression);
        assert_eq!(module.uncompressed_sha256, expected.sha256);
        assert_ne!(module.sha256, expected.sha256);
        assert_eq!(module.imports, expected.imports);
    }
}

#[test]
fn the_dictionary_of_the_highest_xz_level_is_taken() {
    let plain = good().bytes();
    let packed = xz_asking_for(&xz(&plain), 28);
    let (_, unpacked) = open(&packed, &Limits::default()).expect("whole");
    assert_eq!(*unpacked, *plain);
}

#[test]
fn sha256_follows_every_bit() {
    let mut bytes = good().bytes();
    let first = read(&bytes).sha256;
    assert_eq!(first.len(), 64);
    let (text, _) = section_range(&bytes, ".text");
    bytes[text] ^= 1;
    assert_ne!(read(&bytes).sha256, first);
}

#[test]
fn extended_versions_carry_long_names() {
    let long = "a_symbol_with_a_name_that_is_longer_than_the_fifty_six_bytes_of_a_row";
    let module = good().change(|b| b.extended = true).change(|b| b.versions.push((long, 7)));
    assert_eq!(read(&module.bytes()).imports.get(long), Some(&7));
}

#[test]
fn the_signer_is_read() {
    let module = read(&signed(good().bytes(), &[0x0a, 0x0b]));
    assert!(module.signed);
    assert_eq!(module.signer.as_deref(), Some("0a0b"));
    assert_eq!(check(&module, &target()), []);
}

#[test]
fn the_inspection_survives_json() {
    let module = read(&signed(good().change(|b| b.weak = vec!["maybe"]).bytes(), &[7]));
    let json = serde_json::to_string(&module).expect("JSON");
    assert!(json.contains(r#""module_layout":"0x3f2d4e8a""#), "{json}");
    assert!(json.contains(r#""machine":"x86_64""#), "{json}");
    assert_eq!(serde_json::from_str::<Inspection>(&json).expect("the same"), module);
    let damaged = json.replace("0x3f2d4e8a", "3f2d4e8a");
    assert!(serde_json::from_str::<Inspection>(&damaged).is_err());
}

#[test]
fn the_fitting_module_is_compatible() {
    let module = read(&good().bytes());
    let findings = check(&module, &target());
    assert_eq!(verdict(&findings), Verdict::Compatible);
    assert_eq!(findings.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::Signature]);
    assert!(refusal(&module, &target(), &findings).is_none());
    let report = text(&Report::new(module, Some((&target(), findings))));
    assert!(report.ends_with("\ncompatible with kernel 6.12.50-0-lts\n"), "{report}");
    assert!(report.contains("imports     8 symbols with CRC\n"), "{report}");
}

#[test]
fn the_report_alone_judges_nothing() {
    let report = text(&Report::new(read(&gzip(&good().bytes())), None));
    assert!(report.contains("bytes (gzip)") && report.contains("unpacked"), "{report}");
    assert!(!report.contains("compatible"), "{report}");
}
