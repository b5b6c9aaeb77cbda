//! Who vouches for a bundle.

use crate::config::{Config, PublicKey, Sha256};
use crate::error::{Error, Kind, Result};
use crate::seal::{self, Refusal};

/// What the operator trusts: either is enough. A checksum that is given must be right.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trust {
    /// minisign keys, any of which may have signed the manifest.
    pub keys: Vec<PublicKey>,
    /// SHA-256 of the bundle's file.
    pub sha256: Option<Sha256>,
}

/// Who has vouched.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voucher {
    /// Whoever gave the checksum of the file.
    Sha256(String),
    /// The holder of the secret key to this one.
    Key(String),
}

impl std::fmt::Display for Voucher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Voucher::Sha256(sum) => write!(f, "its sha256 {sum}, as given"),
            Voucher::Key(key) => write!(f, "the signature of {key}"),
        }
    }
}

impl Trust {
    /// What the configuration says. The catalog's key counts where the bundle has none of its own.
    pub fn of(config: &Config) -> Trust {
        let own = &config.bundle.public_keys;
        let catalog = config.module.catalog.public_keys.iter();
        let keys = if own.is_empty() { catalog.cloned().collect() } else { own.clone() };
        Trust { keys, sha256: config.bundle.sha256.clone() }
    }

    /// Without anything to trust, nothing is even read.
    pub(super) fn require(&self, name: &str) -> Result<()> {
        if self.sha256.is_some() || !self.keys.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Artifact, format!("bundle {name}: nothing vouches for it"))
            .cause("neither a sha256 nor a public key was given")
            .remedy("give the sha256 that `bundle create` printed, or the public key that it was signed with"))
    }

    /// Which of the keys has signed these bytes; the refusal in words.
    pub(super) fn signer(&self, bytes: &[u8], signature: Option<&[u8]>) -> std::result::Result<Voucher, String> {
        let Some(signature) = signature else { return Err("it is not signed, and no sha256 was given".into()) };
        let text = std::str::from_utf8(signature).map_err(|_| "its signature is no text".to_string())?;
        match seal::signer(bytes, text, &self.keys) {
            Ok(key) => Ok(Voucher::Key(key.to_string())),
            Err(Refusal::Unreadable(e)) => Err(format!("its signature cannot be read: {e}")),
            Err(Refusal::Key(key, e)) => Err(format!("the key {key} cannot be used: {e}")),
            Err(Refusal::OtherKey) if self.keys.is_empty() => {
                Err("no key was given to check its signature with".into())
            }
            Err(Refusal::OtherKey) => Err("it was signed with another key".into()),
            Err(Refusal::OldForm(e) | Refusal::Changed(e)) => {
                Err(format!("its manifest does not belong to its signature: {e}"))
            }
        }
    }
}
