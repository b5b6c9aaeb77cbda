//! Small files made to cost much: each is refused at once.

use crate::module::fixture::*;
use crate::module::{Limits, exports_of, inspect};
use std::time::{Duration, Instant};

fn refused_at_once(label: &str, bytes: &[u8], says: &str) {
    let started = Instant::now();
    let shown = inspect(bytes, &Limits::default()).expect_err(label).to_string();
    assert!(shown.contains(says), "{label}: {shown}");
    assert!(exports_of(bytes, &Limits::default()).is_err(), "{label}");
    assert!(started.elapsed() < Duration::from_secs(5), "{label}: {:?}", started.elapsed());
}

#[test]
fn symbols_that_share_one_endless_name() {
    let strings = [vec![b'a'; 8 << 20], vec![0]].concat();
    let mut row = [0; 24];
    row[4] = 0x10;
    let rows = [vec![0; 24], row.repeat(300_000)].concat();
    refused_at_once("one name", &with_symbols(&rows, &strings), "too long");
}

#[test]
fn symbols_without_number() {
    let strings: Vec<u8> = (0..40_000).flat_map(|n| format!("symbol_{n:05}\0").into_bytes()).collect();
    let row = |n: u32| {
        let mut row = [0; 24];
        row[..4].copy_from_slice(&(n * 13).to_le_bytes());
        row[4] = 0x10;
        row
    };
    let rows = [vec![0; 24], (0..40_000).flat_map(row).collect()].concat();
    let shown = inspect(&with_symbols(&rows, &strings), &Limits::default()).expect_err("many").to_string();
    assert!(shown.contains("more than 20000 imports"), "{shown}");
}

#[test]
fn versions_without_number() {
    let rows: Vec<u8> = (0..40_000u32).flat_map(|n| version_rows(&[(&format!("s{n}"), n)])).collect();
    let build = good().change(|b| (b.versions, b.unversioned) = (vec![], vec!["kfree"]));
    let bytes = build.change(|b| b.extra = vec![("__versions", rows)]).bytes();
    let shown = inspect(&bytes, &Limits::default()).expect_err("many").to_string();
    assert!(shown.contains("more than 20000 imports"), "{shown}");
}

#[test]
fn modinfo_without_end() {
    let entries = b"alias=a\0".repeat(1 << 18);
    let build = good().change(|b| (b.modinfo, b.extra) = (None, vec![(".modinfo", entries)]));
    refused_at_once("modinfo", &build.bytes(), "are too many");
}

#[test]
fn sections_that_share_one_endless_name() {
    let mut bytes = good().bytes();
    let strings = bytes.len() as u64;
    bytes.extend(vec![b'a'; 8 << 20]);
    let table = bytes.len() as u64;
    let mut header = [0; 64];
    header[4] = 3;
    header[24..32].copy_from_slice(&strings.to_le_bytes());
    header[32..40].copy_from_slice(&(8u64 << 20).to_le_bytes());
    bytes.extend(header.repeat(60_000));
    bytes[40..48].copy_from_slice(&table.to_le_bytes());
    bytes[60..62].copy_from_slice(&60_000u16.to_le_bytes());
    bytes[62..64].copy_from_slice(&1u16.to_le_bytes());
    refused_at_once("sections", &bytes, "too long");
}

/// A sound module with another symbol table and its names.
fn with_symbols(rows: &[u8], strings: &[u8]) -> Vec<u8> {
    let mut bytes = good().bytes();
    let table = u64::from_le_bytes(bytes[40..48].try_into().expect("eight bytes")) as usize;
    let count = usize::from(u16::from_le_bytes([bytes[60], bytes[61]]));
    let names = usize::from(u16::from_le_bytes([bytes[62], bytes[63]]));
    for index in 1..count {
        let header = table + index * 64;
        let data = match bytes[header + 4] {
            2 => rows,
            3 if index != names => strings,
            _ => continue,
        };
        let offset = bytes.len() as u64;
        bytes[header + 24..header + 32].copy_from_slice(&offset.to_le_bytes());
        bytes[header + 32..header + 40].copy_from_slice(&(data.len() as u64).to_le_bytes());
        bytes.extend(data);
    }
    bytes
}
