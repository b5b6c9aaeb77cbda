//! Damage to what surrounds a module: its signature and its compression.

use crate::module::fixture::*;
use crate::module::tests::malformed::{Case, all_refused};
use crate::module::{Limits, inspect};

#[test]
fn each_damage_has_its_own_error() {
    all_refused(&[signatures(), compressions()].concat());
}

fn signatures() -> Vec<Case> {
    let whole = good().bytes();
    let join = |head: &[u8], tail: &[u8]| [head, tail].concat();
    let marker = b"~Module signature appended~\n";
    let signed = signed(whole.clone(), &[0x0a, 0x0b]);
    let trailer = signed.len() - marker.len() - 12;
    let change = |at: usize, value: u8| {
        let mut bytes = signed.clone();
        bytes[at] = value;
        bytes
    };
    vec![
        ("stray bytes", join(&whole, b"tail"), "4 stray bytes follow the module"),
        ("cut signature", signed[..signed.len() - 5].to_vec(), "stray bytes follow the module"),
        ("signature of other form", change(trailer + 2, 1), "not in PKCS#7 form"),
        ("signature with odd trailer", change(trailer, 1), "unexpected values"),
        ("signature too long", change(trailer + 8, 0x7f), "does not fit"),
        ("marker alone", marker.to_vec(), "signature is damaged"),
    ]
}

fn compressions() -> Vec<Case> {
    let whole = good().bytes();
    let join = |head: &[u8], tail: &[u8]| [head, tail].concat();
    let damage = |mut bytes: Vec<u8>| {
        let at = bytes.len() - 6;
        bytes[at] ^= 0xff;
        bytes
    };
    let (gz, xz, zst) = (gzip(&whole), xz(&whole), zstd(&whole));
    vec![
        ("gzip cut", gz[..gz.len() / 2].to_vec(), "gzip data is cut short"),
        ("gzip damaged", damage(gz.clone()), "gzip data is damaged"),
        ("gzip with tail", join(&gz, b"tail"), "4 stray bytes follow the gzip data"),
        ("gzip of nothing", gzip(b""), "unpacks to nothing"),
        ("gzip bomb", gzip(&vec![0; 8 << 20]), "a decompression bomb"),
        ("gzip in gzip", gzip(&gz), "not an ELF object"),
        ("xz cut", xz[..xz.len() / 2].to_vec(), "xz data is cut short"),
        ("xz damaged", damage(xz.clone()), "xz data is damaged"),
        ("xz with tail", join(&xz, b"tail"), "4 stray bytes follow the xz data"),
        ("xz asks for 4 GiB", xz_asking_for(&xz, 40), "asks for a dictionary of more than"),
        ("zstd cut", zst[..zst.len() / 2].to_vec(), "zstd data is cut short"),
        ("zstd magic only", zst[..4].to_vec(), "zstd data is cut short"),
        ("zstd with tail", join(&zst, b"tail"), "4 stray bytes follow the zstd data"),
        ("zstd bomb", zstd_bomb(512), "a decompression bomb"),
        ("zstd asks for 2 TiB", b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00".to_vec(), "asks for a window"),
    ]
}

#[test]
fn limits_hold_for_file_and_content() {
    let whole = good().bytes();
    let small = Limits { file: 1000, ..Limits::default() };
    assert!(inspect(&whole, &small).expect_err("too large").to_string().contains("the limit for a module is 1000"));
    let content = Limits { uncompressed: 1000, ..Limits::default() };
    for packed in [gzip(&whole), xz(&whole), zstd(&whole)] {
        let shown = inspect(&packed, &content).expect_err("too large").to_string();
        assert!(shown.contains("unpacks to more than the limit of 1000 bytes") || shown.contains("window"), "{shown}");
    }
}
