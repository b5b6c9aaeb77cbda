//! Signatures of minisign.

use minisign_verify::{Error, PublicKey, Signature};

use crate::config;

/// Whether one of `keys` has signed `bytes`. The error says why not.
///
/// Only signatures over the document's hash count: every minisign since 0.10 makes them, and with one form
/// less there is one thing less that could be confused with the other.
pub(super) fn verify(bytes: &[u8], signature: &str, keys: &[config::PublicKey]) -> Result<(), String> {
    let signature = Signature::decode(signature).map_err(|_| "what lies beside it is no minisign signature")?;
    let mut why = format!("it is signed with a key that is not among module.catalog.public_keys ({})", keys.len());
    for key in keys {
        let key = PublicKey::from_base64(key).map_err(|e| format!("{}: {e}", &**key))?;
        match key.verify(bytes, &signature, false) {
            Ok(()) => return Ok(()),
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm) => {
                why = "its signature is of minisign's old form: sign it without -l".into()
            }
            Err(_) => why = "it is not what was signed: it was changed or cut, or its signature was".into(),
        }
    }
    Err(why)
}
