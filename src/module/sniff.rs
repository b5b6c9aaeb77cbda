//! What a file is when it is no kernel module: the error should name the likely mistake.

use super::{FETCH_AGAIN, bad};
use crate::error::Error;

/// The error for bytes without the ELF magic.
pub(crate) fn not_elf(bytes: &[u8]) -> Error {
    let start = bytes.get(..1024).unwrap_or(bytes);
    if bytes.iter().all(|b| *b == 0) {
        return bad("the file holds only zero bytes, not a kernel module")
            .remedy("an interrupted download or a full disk leaves such files: fetch it again");
    }
    if let Some(kind) = container(bytes) {
        return bad(format!("the file is {kind}, not a kernel module")).remedy("name the amneziawg.ko inside it");
    }
    let text = String::from_utf8_lossy(start).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<head") {
        return bad("the file is an HTML page, not a kernel module")
            .remedy("the server sent a login or error page: check the URL in a browser");
    }
    if text.starts_with("version https://git-lfs") {
        return bad("the file is a Git LFS pointer, not a kernel module")
            .remedy("fetch the object itself, for example with `git lfs pull`");
    }
    if text.starts_with('<') || text.starts_with('{') || text.starts_with("-----begin") || is_text(start) {
        return bad("the file is text, not a kernel module")
            .remedy("the server may have sent an error message: look into the file");
    }
    bad("the file is not an ELF object, so it is no kernel module").remedy(FETCH_AGAIN)
}

fn container(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar archive (or an apk package)");
    }
    if starts(b"!<arch>\n") {
        return Some("an ar archive (or a deb package)");
    }
    if starts(b"PK\x03\x04") {
        return Some("a zip archive");
    }
    if starts(b"hsqs") {
        return Some("a squashfs image");
    }
    if starts(b"BZh") || starts(b"\x04\x22\x4d\x18") || starts(&[0x5d, 0, 0]) {
        return Some("compressed in a way that kmod does not read");
    }
    if starts(b"MZ") {
        return Some("a kernel image or an EFI program");
    }
    if starts(b"ADB") {
        return Some("an apk 3 package");
    }
    None
}

fn is_text(start: &[u8]) -> bool {
    let control = |b: &u8| b.is_ascii_control() && !matches!(b, b'\n' | b'\r' | b'\t');
    std::str::from_utf8(start).is_ok() && !start.iter().any(control)
}
