//! Signatures of minisign, wherever something is vouched for by one.

use minisign_verify::{Error, PublicKey, Signature};

use crate::config;

/// Why no key vouches for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What should be a signature is none.
    Unreadable(String),
    /// A key of the configuration that cannot be used, and why.
    Key(String, String),
    OtherKey,
    /// minisign's old form, of the right key or of any.
    OldForm(String),
    /// The bytes are not those that were signed.
    Changed(String),
}

/// Which of `keys` has signed `bytes`.
///
/// Only signatures over the document's hash count: every minisign since 0.10 makes them, and with one form
/// less there is one thing less that could be confused with the other.
pub fn signer<'a>(
    bytes: &[u8],
    signature: &str,
    keys: &'a [config::PublicKey],
) -> Result<&'a config::PublicKey, Refusal> {
    let signature = Signature::decode(signature).map_err(|e| Refusal::Unreadable(e.to_string()))?;
    let mut refusal = Refusal::OtherKey;
    for key in keys {
        let decoded = PublicKey::from_base64(key).map_err(|e| Refusal::Key(key.to_string(), e.to_string()))?;
        match decoded.verify(bytes, &signature, false) {
            Ok(()) => return Ok(key),
            Err(Error::UnexpectedKeyId) => {}
            // Of the right key and wrong: that outweighs what other keys say.
            Err(e @ Error::UnexpectedAlgorithm) => refusal = Refusal::OldForm(e.to_string()),
            Err(e) => refusal = Refusal::Changed(e.to_string()),
        }
    }
    Err(refusal)
}
