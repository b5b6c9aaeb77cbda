//! Damage at random: an error or a sound answer, never a panic, and never much time or memory.

use crate::module::fixture::*;
use crate::module::tests::target;
use crate::module::*;
use std::time::{Duration, Instant};

/// xorshift64*, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let exporting = good().change(|b| b.exports = vec![("one", 1), ("two", 2)]);
    let plain = exporting.bytes();
    let extended = good().change(|b| b.extended = true).bytes();
    vec![
        ("signed", signed(plain.clone(), &[1, 2, 3])),
        ("gzip", gzip(&plain)),
        ("xz", xz(&plain)),
        ("zstd", zstd(&plain)),
        ("extended", extended),
        ("plain", plain),
    ]
}

/// Everything that reads a module's bytes; the answer, if any, must be usable.
fn exercise(bytes: &[u8]) -> bool {
    let limits = Limits { uncompressed: 8 << 20, ..Limits::default() };
    _ = exports_of(bytes, &limits);
    _ = Evidence::new(RELEASE, Machine::X86_64).add(bytes, &limits);
    let Ok(module) = inspect(bytes, &limits) else {
        return false;
    };
    let findings = check(&module, &target());
    let report = text(&Report::new(module, Some((&target(), findings))));
    assert!(!report.chars().any(|c| c.is_control() && c != '\n'), "{report:?}");
    true
}

#[test]
fn no_cut_file_is_taken_for_a_module() {
    for (form, bytes) in forms() {
        let near_the_ends = (0..128).chain(bytes.len().saturating_sub(64)..bytes.len());
        for length in (0..bytes.len()).step_by(64).chain(near_the_ends).filter(|l| *l < bytes.len()) {
            // A signature that is gone altogether leaves an unsigned module, which is a sound one.
            let unsigned = form == "signed" && length == forms()[5].1.len();
            assert_eq!(exercise(&bytes[..length]), unsigned, "{form} cut to {length} of {}", bytes.len());
        }
    }
}

const ROUNDS: u32 = 500;

#[test]
fn random_damage_never_panics() {
    let started = Instant::now();
    for (form, bytes) in forms() {
        let mut random = Random(0x5eed_0000 + bytes.len() as u64);
        let mut sound = 0;
        for _ in 0..ROUNDS {
            let mut mutant = bytes.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut mutant, &mut random);
            }
            sound += u32::from(exercise(&mutant));
        }
        assert!(sound < ROUNDS, "{form}: no damage was noticed");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const WORDS: [u64; 8] = [0, 1, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 63, 1 << 31, u64::MAX - 63];
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => {
            let end = (at + 8).min(bytes.len());
            let word = WORDS[random.below(WORDS.len())].to_le_bytes();
            bytes[at..end].copy_from_slice(&word[..end - at]);
        }
        3 => {
            let end = at + random.below((bytes.len() - at).min(256));
            bytes.drain(at..end);
        }
        4 => {
            let end = at + random.below((bytes.len() - at).min(256));
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        // The header and the section table decide where everything else is read.
        _ => {
            let table = bytes.get(40..44).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
            let base = if random.below(2) == 0 { 0 } else { table };
            let at = base + random.below(640);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}
