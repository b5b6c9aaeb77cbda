//! APKINDEX.tar.gz: which packages a repository has, as far as a bundle needs to know.

use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar::Archive;

/// Bytes of an unpacked index; Alpine's largest is an eighth of it.
const LIMIT: u64 = 128 << 20;

/// A package that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub version: String,
    /// Bytes of the .apk file.
    pub size: u64,
}

impl Listed {
    /// What its file is called in the repository.
    pub fn file(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }
}

/// The packages of an index file. The signature before it is apk's to check, and apk has.
pub fn packages(index: impl Read) -> Result<Vec<Listed>, String> {
    // Two gzip streams, the signature's and the list's, whose contents are one tar archive.
    let mut archive = Archive::new(MultiGzDecoder::new(index).take(LIMIT));
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        if &*entry.path_bytes() == b"APKINDEX" {
            return list(BufReader::new(entry));
        }
    }
    Err("there is no APKINDEX in it".into())
}

fn list(lines: impl BufRead) -> Result<Vec<Listed>, String> {
    let mut found = Vec::new();
    let (mut name, mut version, mut size) = (None, None, None);
    // An empty line ends each package; the last one may lack it.
    for line in lines.lines().chain([Ok(String::new())]) {
        let line = line.map_err(|e| e.to_string())?;
        match line.split_once(':') {
            Some(("P", value)) => name = Some(value.to_string()),
            Some(("V", value)) => version = Some(value.to_string()),
            Some(("S", value)) => size = value.parse().ok(),
            _ if line.is_empty() => {
                if let (Some(name), Some(version), Some(size)) = (name.take(), version.take(), size.take()) {
                    found.push(Listed { name, version, size });
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(tar: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut out, tar).unwrap();
        out.finish().unwrap()
    }

    fn member(builder: &mut tar::Builder<Vec<u8>>, path: &str, data: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, data).unwrap();
    }

    /// As abuild-sign leaves it: the signature's archive has no end.
    #[test]
    fn a_signed_index() {
        let text = "C:Q1a=\nP:kmod\nV:34.2-r0\nA:x86_64\nS:123\nI:9\n\nC:Q1b=\nP:musl\nV:1.2.5-r10\nS:456\nD:so:x\n\n\
                    P:cut\nV:1-r0\n\nP:last\nV:2-r1\nS:7\n";
        let mut signature = tar::Builder::new(Vec::new());
        member(&mut signature, ".SIGN.RSA.key.rsa.pub", b"signature");
        let signature = signature.get_ref()[..1024].to_vec();
        let mut list = tar::Builder::new(Vec::new());
        member(&mut list, "DESCRIPTION", b"v3.22.1-1\n");
        member(&mut list, "APKINDEX", text.as_bytes());
        let bytes = [gzip(&signature), gzip(&list.into_inner().unwrap())].concat();
        let found = packages(&bytes[..]).unwrap();
        let files: Vec<(String, u64)> = found.iter().map(|p| (p.file(), p.size)).collect();
        let expected = [("kmod-34.2-r0.apk", 123), ("musl-1.2.5-r10.apk", 456), ("last-2-r1.apk", 7)];
        assert_eq!(files, expected.map(|(f, n)| (f.to_string(), n)));
        assert!(packages(&bytes[..40]).is_err());
        assert_eq!(packages(&gzip(&signature)[..]).unwrap_err(), "there is no APKINDEX in it");
    }
}
