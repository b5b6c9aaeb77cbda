use std::io::{self, Read};

use super::*;
use crate::module::fixture::{gzip, xz, xz_asking_for, zstd, zstd_bomb};

/// A newc archive, padded to 512 bytes as cpio does.
pub fn cpio(files: &[(&str, usize)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut entry = |name: &str, size: usize| {
        let numbers = [1, 0o100644, 0, 0, 1, 0, size, 0, 0, 0, 0, name.len() + 1, 0];
        out.extend(b"070701");
        out.extend(numbers.iter().flat_map(|n| format!("{n:08X}").into_bytes()));
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend((0..size).map(|i| (i % 251) as u8 + 1));
        out.resize(out.len().next_multiple_of(4), 0);
    };
    files.iter().for_each(|(name, size)| entry(name, *size));
    entry(TRAILER, 0);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

const MICROCODE: &[(&str, usize)] =
    &[("kernel", 0), ("kernel/x86/microcode/AuthenticAMD.bin", 70_001), ("kernel/x86/microcode/GenuineIntel.bin", 9)];
const SYSTEM: &[(&str, usize)] = &[
    (".", 0),
    ("./init", 31_000),
    ("./usr/lib/modules/6.12.50-0-lts/kernel/drivers/block/virtio_blk.ko.gz", 100_003),
    ("/etc/fstab", 7),
];

fn holds(bytes: &[u8]) -> Vec<String> {
    names(bytes).expect("a sound initramfs").into_iter().collect()
}

fn refused(bytes: &[u8]) -> String {
    names(bytes).expect_err("an unsound initramfs").message
}

const SYSTEM_NAMES: [&str; 3] =
    ["etc/fstab", "init", "usr/lib/modules/6.12.50-0-lts/kernel/drivers/block/virtio_blk.ko.gz"];

#[test]
fn every_compression_and_none() {
    let plain = cpio(SYSTEM);
    for bytes in [plain.clone(), gzip(&plain), xz(&plain), zstd(&plain)] {
        assert_eq!(holds(&bytes), SYSTEM_NAMES);
    }
}

#[test]
fn microcode_first() {
    let plain = cpio(SYSTEM);
    for system in [plain.clone(), gzip(&plain), xz(&plain), zstd(&plain)] {
        let bytes = [cpio(MICROCODE), vec![0; 1024], system, vec![0; 512], gzip(&cpio(&[("late", 1)]))].concat();
        let found = holds(&bytes);
        assert_eq!(found.len(), 3 + SYSTEM_NAMES.len() + 1, "{found:?}");
        assert!(found.contains(&"kernel/x86/microcode/GenuineIntel.bin".to_string()));
        assert!(SYSTEM_NAMES.iter().all(|n| found.iter().any(|f| f == n)));
    }
}

#[test]
fn two_archives_in_one_stream() {
    let both = [cpio(MICROCODE), cpio(SYSTEM)].concat();
    assert_eq!(holds(&gzip(&both)).len(), 6);
}

/// A source that hands out a few bytes at a time, with an interruption now and then.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(7) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = (self.1 % 3 + 1).min(self.0.len()).min(out.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn read_in_small_pieces() {
    let plain = cpio(SYSTEM);
    for system in [plain.clone(), gzip(&plain), xz(&plain), zstd(&plain)] {
        let bytes = [cpio(MICROCODE), system].concat();
        assert_eq!(names(Drip(&bytes, 0)).expect("sound"), names(&bytes[..]).expect("sound"));
    }
}

#[test]
fn whatever_is_cut_off_is_an_error() {
    let plain = cpio(&[("init", 300), ("lib/modules/6.12.50-0-lts/kernel/fs/ext4/ext4.ko.gz", 400)]);
    let whole = plain.len() - plain.iter().rev().take_while(|b| **b == 0).count();
    // The trailer's own NUL is the last byte that counts.
    (0..whole).for_each(|n| assert!(names(&plain[..n]).is_err(), "plain cut to {n} of {whole}"));
    for bytes in [gzip(&plain), xz(&plain), zstd(&plain)] {
        (0..bytes.len()).for_each(|n| assert!(names(&bytes[..n]).is_err(), "cut to {n} of {}", bytes.len()));
    }
}

#[test]
fn each_damage_says_what_it_is() {
    let plain = cpio(SYSTEM);
    let change = |at: usize, with: &[u8]| {
        let mut bytes = plain.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let damaged_gzip = {
        let mut bytes = gzip(&plain);
        let at = bytes.len() - 6;
        bytes[at] ^= 0xff;
        bytes
    };
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("nothing", vec![], "it is empty"),
        ("zeros", vec![0; 4096], "it is empty"),
        ("text", b"#!/bin/sh\n".to_vec(), "neither a cpio archive nor data compressed"),
        ("text after an archive", [plain.clone(), b"junk".to_vec()].concat(), "neither a cpio archive"),
        ("odc", change(0, b"070707"), "old format"),
        ("magic of the second entry", change(112, b"x"), "no header where one should be"),
        ("sign in a number", change(54, b"+0000000"), "a number is not one"),
        ("name of 4 GiB", change(94, b"FFFFFFFF"), "a name of 4294967295 bytes"),
        ("name of nothing", change(94, b"00000000"), "a name of 0 bytes"),
        ("file of 4 GiB", change(54, b"FFFFFFFF"), "cut short"),
        ("gzip of text", gzip(b"hello"), "its gzip data is not a cpio archive"),
        ("gzip of nothing", gzip(b""), "its gzip data holds nothing"),
        ("gzip in gzip", gzip(&gzip(&plain)), "its gzip data is not a cpio archive"),
        ("gzip damaged", damaged_gzip, "gzip data is damaged"),
        ("zstd of zeros", zstd_bomb(8), "its zstd data holds nothing"),
        ("xz asks for 4 GiB", xz_asking_for(&xz(&plain), 40), "dictionary of more than"),
        ("zstd asks for 2 TiB", b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00".to_vec(), "a window of"),
        ("lz4, as the kernel wants it", b"\x02\x21\x4c\x18\x00\x00".to_vec(), "compressed with lz4, which cannot"),
        ("lz4", b"\x04\x22\x4d\x18\x64\x40".to_vec(), "compressed with lz4, which cannot"),
        ("bzip2", b"BZh91AY&SY".to_vec(), "compressed with bzip2, which cannot"),
        ("lzma", b"\x5d\x00\x00\x80\x00\xff".to_vec(), "compressed with lzma, which cannot"),
    ];
    for (label, bytes, says) in cases {
        let shown = refused(bytes);
        assert!(shown.contains(says), "{label}: {shown}");
    }
}

#[test]
fn limits_hold() {
    let files: Vec<String> = (0..200).map(|n| format!("file-{n}")).collect();
    let many = cpio(&files.iter().map(|f| (f.as_str(), 1000)).collect::<Vec<_>>());
    let shown = |limits: Limits, bytes: &[u8]| names_within(bytes, &limits).expect_err("too much").message;
    let entries = Limits { entries: 100, ..Limits::default() };
    let length = Limits { names: 500, ..Limits::default() };
    let content = Limits { content: 100_000, ..Limits::default() };
    for bytes in [many.clone(), gzip(&many), xz(&many), zstd(&many)] {
        assert!(shown(entries, &bytes).contains("more than 100 names"));
        assert!(shown(length, &bytes).contains("500 bytes"));
        assert!(shown(content, &bytes).contains("limit of 100000 bytes"));
    }
    // Several streams share one bound.
    let row = gzip(&cpio(&[("a", 60_000)])).repeat(3);
    assert!(shown(content, &row).contains("more in it than the limit"));
    assert!(shown(content, &zstd_bomb(512)).contains("more in it than the limit"));
}

#[test]
fn random_damage_never_panics() {
    let plain = cpio(SYSTEM);
    let forms = [cpio(MICROCODE), gzip(&plain), xz(&plain), zstd(&plain), [cpio(MICROCODE), gzip(&plain)].concat()];
    // xorshift64*, so that a failure can be repeated.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |bound: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound as u64) as usize
    };
    let limits = Limits { content: 4 << 20, ..Limits::default() };
    for _ in 0..150 {
        for form in &forms {
            let mut bytes = form.clone();
            for _ in 0..1 + random(6) {
                // Headers are where damage does most.
                let at = if random(2) == 0 { random(bytes.len().min(160)) } else { random(bytes.len()) };
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            if let Ok(found) = names_within(&bytes[..], &limits) {
                assert!(found.len() <= SYSTEM.len() + MICROCODE.len(), "{found:?}");
            }
        }
    }
}
