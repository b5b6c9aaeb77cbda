//! Files encrypted to public keys in the age format, by the crate of that name: what this writes the program `age`
//! decrypts, and the other way round. X25519 keys only.

use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;

use ::age::stream::{StreamReader, StreamWriter};
use ::age::{DecryptError, Decryptor, EncryptError, Encryptor, x25519};

/// A recipient, written `age1...`.
pub struct PublicKey(x25519::Recipient);

/// An identity, written `AGE-SECRET-KEY-1...`.
pub struct SecretKey(x25519::Identity);

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
    head.starts_with(b"age-encryption.org/v1")
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = "is not an age public key (62 characters that begin with age1)";
        text.parse().map(PublicKey).map_err(|_| why.into())
    }
}

impl FromStr for SecretKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(SecretKey).map_err(|_| "is not an age identity (AGE-SECRET-KEY-1...)".into())
    }
}

/// Encrypts what is written to it. Without `finish` the file is one that is cut off.
pub struct Writer<W: Write>(StreamWriter<W>);

impl<W: Write> Writer<W> {
    pub fn new(to: W, recipients: &[PublicKey]) -> io::Result<Writer<W>> {
        let recipients = recipients.iter().map(|r| &r.0 as &dyn ::age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(|e| match e {
            EncryptError::Io(error) => error,
            other => io::Error::other(other.to_string()),
        })?;
        encryptor.wrap_output(to).map(Writer)
    }

    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Decrypts what is read from it. What it has handed out was written by whoever had the file key; that it is
/// all of it is known at the end only.
pub struct Reader<R: BufRead>(StreamReader<R>);

impl<R: BufRead> Reader<R> {
    pub fn new(from: R, identities: &[SecretKey]) -> Result<Reader<R>, Problem> {
        let opened = Decryptor::new_buffered(from)
            .and_then(|decryptor| decryptor.decrypt(identities.iter().map(|i| &i.0 as &dyn ::age::Identity)));
        opened.map(Reader).map_err(|error| match error {
            DecryptError::NoMatchingKeys => Problem::OtherKey,
            DecryptError::InvalidMac => Problem::Damaged("its header was changed".into()),
            other => Problem::Damaged(format!("it is damaged or cut off ({other})")),
        })
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                io::Error::new(io::ErrorKind::InvalidData, "it is cut off, or was changed after it was encrypted")
            }
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests;
