//! Words that nobody can guess, from the system's random numbers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// 144 bits as 24 letters, digits, - and _.
pub fn word() -> Result<String> {
    let mut bytes = Zeroizing::new([0u8; 18]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| Error::step("the system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_and_are_passwords() {
        let (one, other) = (word().unwrap(), word().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 24);
        assert!(crate::config::check_password(&one).is_ok());
    }
}
