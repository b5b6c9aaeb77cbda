//! The seed corpus: sound modules in every form, and the beginnings of what is no module.

#[allow(dead_code, reason = "the tests of src/module use the rest")]
#[path = "../../../src/module/fixture.rs"]
mod fixture;

use fixture::*;
use std::path::Path;

pub fn write(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    seeds().iter().try_for_each(|(name, bytes)| std::fs::write(directory.join(name), bytes))
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let plain = good().bytes();
    let exporting = |symbols| good().change(|b| (b.exports, b.crc_symbols) = (vec![("one", 1), ("two", 2)], symbols));
    let imports = good().change(|b| (b.weak, b.unversioned) = (vec!["maybe"], vec!["kfree"]));
    vec![
        ("extended", good().change(|b| b.extended = true).bytes()),
        ("exporting", exporting(true).bytes()),
        ("exporting-stripped", exporting(false).bytes()),
        ("in-tree", good().with("intree", "Y").bytes()),
        ("imports", imports.bytes()),
        ("without-symbols", good().change(|b| b.symbols = false).bytes()),
        ("signed", signed(plain.clone(), &[1, 2, 3])),
        ("gzip", gzip(&plain)),
        ("xz", xz(&plain)),
        ("zstd", zstd(&plain)),
        ("zstd-bomb", zstd_bomb(64)),
        ("gzip-bomb", gzip(&vec![0; 5 << 20])),
        ("xz-dictionary", xz_asking_for(&xz(b"small"), 40)),
        ("html", b"<!DOCTYPE html><html>".to_vec()),
        ("zeros", vec![0; 64]),
        ("plain", plain),
    ]
}
