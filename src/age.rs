//! Files encrypted to public keys in the age format, version 1 (C2SP, age-encryption.org/v1): what this
//! writes the program `age` decrypts, and the other way round. X25519 keys only; the primitives are ring's and
//! curve25519-dalek's.

use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bech32::{Bech32, Hrp, primitives::decode::CheckedHrpstring};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
/// Bytes of a piece of the contents, before its tag.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
/// Bytes of a header: some hundred recipients.
const MAX_HEADER: usize = 64 << 10;
/// Characters of a line of base64.
const COLUMNS: usize = 64;

/// A recipient, written `age1...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// An identity, written `AGE-SECRET-KEY-1...`.
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// Why a file cannot be decrypted.
#[derive(Debug)]
pub enum Problem {
    /// Not this format, or damaged: in words.
    Damaged(String),
    /// None of the keys is one of those it was encrypted to.
    OtherKey,
}

/// The contents of a file of this format begin so.
pub fn is_age(head: &[u8]) -> bool {
    head.starts_with(VERSION.as_bytes())
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key =
            Self(*decode_key(text, "age").ok_or("is not an age public key (62 characters that begin with age1)")?);
        // A point of low order makes the same secret for everybody.
        let probe = x25519([0x42; 32], key.0);
        if probe == [0; 32] { Err("is an age public key that protects nothing".into()) } else { Ok(key) }
    }
}

impl FromStr for SecretKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = decode_key(text, "AGE-SECRET-KEY-");
        key.map(SecretKey).ok_or_else(|| "is not an age identity (AGE-SECRET-KEY-1...)".into())
    }
}

impl SecretKey {
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519(*self.0, X25519_BASEPOINT_BYTES))
    }
}

fn decode_key(text: &str, kind: &str) -> Option<Zeroizing<[u8; 32]>> {
    let upper = kind.chars().any(|c| c.is_ascii_uppercase());
    // Each kind of key is written in one case only.
    let other_case = |c: char| if upper { c.is_ascii_lowercase() } else { c.is_ascii_uppercase() };
    if text.contains(other_case) {
        return None;
    }
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    if checked.hrp() != Hrp::parse(kind).ok()? {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    let mut bytes = checked.byte_iter();
    for byte in key.iter_mut() {
        *byte = bytes.next()?;
    }
    bytes.next().is_none().then_some(key)
}

/// Encrypts what is written to it. Without `finish` the file is one that is cut off.
pub struct Writer<W: Write> {
    to: W,
    pieces: Pieces,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub fn new(mut to: W, recipients: &[PublicKey]) -> io::Result<Writer<W>> {
        let file_key: Zeroizing<[u8; 16]> = random()?;
        let mut header = format!("{VERSION}\n");
        for recipient in recipients {
            let ephemeral: Zeroizing<[u8; 32]> = random()?;
            let share = x25519(*ephemeral, X25519_BASEPOINT_BYTES);
            let shared = Zeroizing::new(x25519(*ephemeral, recipient.0));
            let mut wrapped = file_key.to_vec();
            let key = aead(&wrap_key(&shared, &share, recipient));
            let tag = key.seal_in_place_separate_tag(zero_nonce(), Aad::empty(), &mut wrapped).map_err(cannot)?;
            wrapped.extend_from_slice(tag.as_ref());
            header.push_str(&format!("-> X25519 {}\n{}\n", BASE64.encode(share), BASE64.encode(wrapped)));
        }
        header.push_str("---");
        let mac = hmac::sign(&mac_key(&file_key), header.as_bytes());
        let nonce: Zeroizing<[u8; 16]> = random()?;
        to.write_all(format!("{header} {}\n", BASE64.encode(mac)).as_bytes())?;
        to.write_all(&*nonce)?;
        Ok(Writer { to, pieces: Pieces::new(&file_key, &nonce), buffer: Vec::with_capacity(CHUNK + TAG) })
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.piece(true)?;
        Ok(self.to)
    }

    fn piece(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.pieces.nonce(last);
        self.pieces.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.buffer).map_err(cannot)?;
        self.to.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when more follows is it known that a full piece is not the last.
        if self.buffer.len() == CHUNK && !bytes.is_empty() {
            self.piece(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Decrypts what is read from it. What it has handed out was written by whoever had the file key; that it is
/// all of it is known at the end only.
pub struct Reader<R: BufRead> {
    from: R,
    pieces: Pieces,
    buffer: Vec<u8>,
    read: usize,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    pub fn new(mut from: R, identities: &[SecretKey]) -> Result<Reader<R>, Problem> {
        let (signed, mac, stanzas) = header(&mut from)?;
        let file_key = identities.iter().find_map(|i| stanzas.iter().find_map(|s| unwrap(i, s)));
        let file_key = file_key.ok_or(Problem::OtherKey)?;
        hmac::verify(&mac_key(&file_key), signed.as_bytes(), &mac).map_err(|_| damaged("its header was changed"))?;
        let mut nonce = [0; 16];
        from.read_exact(&mut nonce).map_err(|_| damaged("it ends after its header"))?;
        Ok(Reader { from, pieces: Pieces::new(&file_key, &nonce), buffer: Vec::new(), read: 0, ended: false })
    }

    fn piece(&mut self) -> io::Result<()> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        self.buffer.clear();
        let limit = (CHUNK + TAG) as u64;
        (&mut self.from).take(limit).read_to_end(&mut self.buffer)?;
        self.ended = self.from.fill_buf()?.is_empty();
        let first = self.pieces.counter == 0;
        let nonce = self.pieces.nonce(self.ended);
        let opened = self.pieces.key.open_in_place(nonce, Aad::empty(), &mut self.buffer);
        let length = opened.map_err(|_| wrong("it is cut off, or was changed after it was encrypted"))?.len();
        if length == 0 && !first {
            return Err(wrong("its last piece is empty"));
        }
        self.buffer.truncate(length);
        self.read = 0;
        Ok(())
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.read == self.buffer.len() {
            if self.ended {
                return Ok(0);
            }
            self.piece()?;
        }
        let taken = bytes.len().min(self.buffer.len() - self.read);
        bytes[..taken].copy_from_slice(&self.buffer[self.read..self.read + taken]);
        self.read += taken;
        Ok(taken)
    }
}

/// The contents, piece by piece: each is sealed with its number, the last with a mark.
struct Pieces {
    key: LessSafeKey,
    counter: u64,
}

impl Pieces {
    fn new(file_key: &[u8; 16], nonce: &[u8; 16]) -> Pieces {
        Pieces { key: aead(&derive(file_key, nonce, b"payload")), counter: 0 }
    }

    fn nonce(&mut self, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.counter.to_be_bytes());
        nonce[11] = u8::from(last);
        self.counter += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// A recipient's part of a header.
struct Stanza {
    arguments: Vec<String>,
    body: Vec<u8>,
}

/// What the header's checksum is over, that checksum, and a stanza for each recipient.
fn header(from: &mut impl BufRead) -> Result<(String, Vec<u8>, Vec<Stanza>), Problem> {
    let mut left = MAX_HEADER as u64;
    let mut line = || -> Result<String, Problem> {
        let mut line = Vec::new();
        from.take(left).read_until(b'\n', &mut line).map_err(|e| damaged(&e.to_string()))?;
        left -= line.len() as u64;
        let text = line.strip_suffix(b"\n").and_then(|l| String::from_utf8(l.to_vec()).ok());
        text.filter(|t| t.is_ascii()).ok_or_else(|| damaged("its header is not text, or does not end"))
    };
    let unpacked = |text: &str| BASE64.decode(text).map_err(|_| damaged("its header is not base64"));
    let first = line()?;
    if first != VERSION {
        return Err(damaged("it is not in version 1 of the age format"));
    }
    let (mut signed, mut stanzas) = (format!("{first}\n"), Vec::new());
    loop {
        let text = line()?;
        if let Some(mac) = text.strip_prefix("--- ") {
            signed.push_str("---");
            return Ok((signed, unpacked(mac)?, stanzas));
        }
        let arguments = text.strip_prefix("-> ").ok_or_else(|| damaged("its header is not one of age's"))?;
        signed.push_str(&format!("{text}\n"));
        let arguments: Vec<String> = arguments.split(' ').map(String::from).collect();
        if arguments.iter().any(String::is_empty) {
            return Err(damaged("its header is not one of age's"));
        }
        let mut body = Vec::new();
        loop {
            let text = line()?;
            if text.len() > COLUMNS {
                return Err(damaged("its header has a line that is too long"));
            }
            signed.push_str(&format!("{text}\n"));
            body.extend(unpacked(&text)?);
            if text.len() < COLUMNS {
                break;
            }
        }
        stanzas.push(Stanza { arguments, body });
    }
}

/// The file's key, where this stanza is for this identity.
fn unwrap(identity: &SecretKey, stanza: &Stanza) -> Option<Zeroizing<[u8; 16]>> {
    let [kind, share] = stanza.arguments.as_slice() else { return None };
    let share: [u8; 32] = BASE64.decode(share).ok()?.try_into().ok()?;
    if kind != "X25519" || stanza.body.len() != 16 + TAG {
        return None;
    }
    let shared = Zeroizing::new(x25519(*identity.0, share));
    if *shared == [0; 32] {
        return None;
    }
    let mut body = Zeroizing::new(stanza.body.clone());
    let key = aead(&wrap_key(&shared, &share, &identity.public()));
    let opened = key.open_in_place(zero_nonce(), Aad::empty(), &mut body).ok()?;
    let mut file_key = Zeroizing::new([0; 16]);
    file_key.copy_from_slice(opened);
    Some(file_key)
}

fn wrap_key(shared: &[u8; 32], share: &[u8; 32], recipient: &PublicKey) -> Zeroizing<[u8; 32]> {
    derive(shared, &[*share, recipient.0].concat(), INFO)
}

fn mac_key(file_key: &[u8; 16]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &*derive(file_key, b"", b"header"))
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = pseudorandom.expand(&info, hkdf::HKDF_SHA256).and_then(|k| k.fill(&mut *key));
    expanded.expect("32 bytes are as many as the hash has");
    key
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are a key"))
}

/// The key it goes with is used once.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn random<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(bytes)
}

fn cannot(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("cannot be encrypted")
}

fn damaged(why: &str) -> Problem {
    Problem::Damaged(why.into())
}

#[cfg(test)]
mod tests;
