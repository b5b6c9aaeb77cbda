use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

/// Bytes of a piece of the contents, and of its tag.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
/// Made by age-keygen 1.1.1, and a file that age 1.1.1 encrypted to the second one.
const OTHER: &str = "AGE-SECRET-KEY-1AQM9ZPXTDHSQ75H9W3JX9NEHGMAWLJF368DGYE9APXFM7GMUC5GSYYKZZ2";
const SECRET: &str = "AGE-SECRET-KEY-197RF39YV5FSGNM4J0Y3KF6MCEE5DN9ZRJX0G2DYNK7WA9NRFFE3Q5KRAUS";
const PUBLIC: &str = "age19t86x9cy6ygxmfksfkklxarw8xy99cheuj9eaqe5v59t0nvzgukse4vvg6";
const FILE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBNUTJkT0Q3dTlsQVNTNzJkamMrNFNpZzVzRzNsdXRZUGE4QktOTm91TTFZCnNOWmxnMS9QWkQxUThzbWlKWHhuOUU1UitEVjFqS29SS3VVeEhWdUpjeFUKLS0tIGZlYUN0UDF2RjRkUTU0VXBWRE42NFVSVS9ZVUhNQTF0V21tOU9NRlpxL1kKpHW3Vj8jyAw6l8FOsTjqhhNl9/vncoGQFiddlhvkgUiwfidFIiFePzlUrFl4";

fn secret() -> SecretKey {
    SECRET.parse().unwrap()
}

fn other() -> SecretKey {
    OTHER.parse().unwrap()
}

fn public(key: &SecretKey) -> PublicKey {
    PublicKey(key.0.to_public())
}

fn sealed(contents: &[u8], to: &[PublicKey]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), to).unwrap();
    writer.write_all(contents).unwrap();
    writer.finish().unwrap()
}

fn opened(file: &[u8], identities: &[SecretKey]) -> Result<Vec<u8>, String> {
    let mut reader = Reader::new(file, identities).map_err(|problem| format!("{problem:?}"))?;
    let mut contents = Vec::new();
    reader.read_to_end(&mut contents).map_err(|e| e.to_string())?;
    Ok(contents)
}

#[test]
fn a_file_of_the_program_age() {
    let file = BASE64.decode(FILE).unwrap();
    assert!(is_age(&file));
    assert_eq!(opened(&file, &[other(), secret()]).unwrap(), b"the contents\n");
    assert!(opened(&file, &[other()]).unwrap_err().contains("OtherKey"));
    assert_eq!(public(&secret()).0.to_string(), PUBLIC);
}

#[test]
fn there_and_back() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
        let contents: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
        let file = sealed(&contents, &[public(&other()), public(&secret())]);
        for identity in [secret(), other()] {
            assert_eq!(opened(&file, &[identity]).unwrap(), contents, "{length}");
        }
        assert!(!file.windows(8).any(|w| length > 8 && *w == contents[..8]));
    }
}

#[test]
fn what_was_changed_or_cut_is_noticed() {
    let file = sealed(&[5; CHUNK + 100], &[public(&secret())]);
    for at in 0..file.len() {
        // Every bit of the header, some of the contents.
        if at < 250 || at % 977 == 0 {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, &[secret()]).is_err(), "byte {at} changed");
            assert!(opened(&file[..at], &[secret()]).is_err(), "cut at {at}");
        }
    }
    // At the end of a piece, where what is left is whole pieces.
    assert!(opened(&file[..file.len() - 100 - TAG], &[secret()]).is_err());
    assert!(opened(&[&file[..], b"x"].concat(), &[secret()]).is_err());
}

#[test]
fn keys_as_they_are_written() {
    let swapped = PUBLIC.replace("age19", "age18");
    for wrong in ["", "age1", &PUBLIC[..61], &swapped, SECRET, &format!("{PUBLIC} ")] {
        assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
    }
    for wrong in ["", &SECRET[1..], PUBLIC, &format!("{SECRET}Q")] {
        assert!(wrong.parse::<SecretKey>().is_err(), "{wrong}");
    }
}
