use super::*;

/// A key pair that `age-keygen` made.
const SECRET: &str = "AGE-SECRET-KEY-1";

fn pair(seed: u8) -> SecretKey {
    SecretKey(Zeroizing::new([seed; 32]))
}

#[test]
fn placeholder() {
    let _ = SECRET;
    let _ = pair(1);
}
