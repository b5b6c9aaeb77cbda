//! The signature that `CONFIG_MODULE_SIG` appends after the ELF object.

use super::{FETCH_AGAIN, bad};
use crate::error::{Error, Result};

const MARKER: &[u8] = b"~Module signature appended~\n";
/// algo, hash, id_type, signer_len, key_id_len, three of padding, length as 32-bit big-endian.
const TRAILER: usize = 12;
const ID_TYPE_PKCS7: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Serial number of the signing certificate, or its key identifier, in hex.
    pub signer: Option<String>,
}

/// The module without its signature, and the signature if there is one.
pub(crate) fn split(bytes: &[u8]) -> Result<(&[u8], Option<Signature>)> {
    let Some(signed) = bytes.strip_suffix(MARKER) else {
        return Ok((bytes, None));
    };
    let Some((rest, trailer)) = signed.split_last_chunk::<TRAILER>() else {
        return Err(broken("no trailer"));
    };
    let [algorithm, hash, id_type, signer_len, key_id_len, p0, p1, p2, l0, l1, l2, l3] = *trailer;
    if id_type != ID_TYPE_PKCS7 {
        return Err(broken("it is not in PKCS#7 form"));
    }
    if [algorithm, hash, signer_len, key_id_len, p0, p1, p2] != [0; 7] {
        return Err(broken("its trailer has unexpected values"));
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length == 0 || length >= rest.len() {
        return Err(broken("its length does not fit the file"));
    }
    let (body, message) = rest.split_at(rest.len() - length);
    Ok((body, Some(Signature { signer: signer(message) })))
}

/// The kernel refuses a module with a signature it cannot parse, even where none is required.
fn broken(cause: &str) -> Error {
    bad("the module's appended signature is damaged").cause(cause).remedy(FETCH_AGAIN)
}

/// The first signer's certificate serial or key identifier out of a CMS SignedData message.
fn signer(message: &[u8]) -> Option<String> {
    const INTEGER: u8 = 0x02;
    const OCTETS: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    const CONTEXT_0: u8 = 0xa0;
    const KEY_ID: u8 = 0x80;
    let content_info = expect(&mut { message }, SEQUENCE)?;
    let mut rest = content_info;
    next(&mut rest)?; // the content type
    let mut explicit = expect(&mut rest, CONTEXT_0)?;
    let mut signed_data = expect(&mut explicit, SEQUENCE)?;
    expect(&mut signed_data, INTEGER)?;
    expect(&mut signed_data, SET)?;
    expect(&mut signed_data, SEQUENCE)?;
    let mut signer_infos = loop {
        // Certificates and revocation lists may come first.
        match next(&mut signed_data)? {
            (SET, content) => break content,
            _ => continue,
        }
    };
    let mut info = expect(&mut signer_infos, SEQUENCE)?;
    expect(&mut info, INTEGER)?;
    let identifier = match next(&mut info)? {
        (SEQUENCE, mut issuer_and_serial) => {
            next(&mut issuer_and_serial)?;
            expect(&mut issuer_and_serial, INTEGER)?
        }
        (KEY_ID | OCTETS, key_id) => key_id,
        _ => return None,
    };
    let sane = !identifier.is_empty() && identifier.len() <= 64;
    sane.then(|| identifier.iter().map(|b| format!("{b:02x}")).collect())
}

fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    match next(input)? {
        (found, content) if found == tag => Some(content),
        _ => None,
    }
}

/// One DER element: its tag and content.
fn next<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let width = usize::from(first & 0x7f);
        if !(1..=4).contains(&width) || rest.len() < width {
            return None;
        }
        let (digits, tail) = rest.split_at(width);
        length = digits.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
        rest = tail;
    }
    if length > rest.len() {
        return None;
    }
    let (content, tail) = rest.split_at(length);
    *input = tail;
    Some((tag, content))
}
