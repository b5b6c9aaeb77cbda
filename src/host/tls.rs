//! A page over TLS on this host: whether it answers, for which name, and who vouches for it. Certificates of
//! authorities, as files.

use std::net::{IpAddr, SocketAddr};

use reqwest::{Certificate, tls::TlsInfo};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::json;
use webpki::EndEntityCert;

use super::files::sha256;
use super::http::{self, PAGE_PATIENCE};
use super::{Host, Limits};

/// Where a page is asked for, whatever public names lead to.
pub struct Door<'a> {
    /// The name or address that the certificate must be for.
    pub name: &'a str,
    /// What listens there.
    pub address: &'a str,
    pub port: u16,
    /// Authorities (PEM) besides the public ones.
    pub authorities: Vec<Vec<u8>>,
}

/// What answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    pub status: u16,
    /// Who has signed the certificate, as it says itself.
    pub issuer: String,
    /// The certificate is for the name that was asked for.
    pub named: bool,
    /// An authority that is known here stands behind it.
    pub trusted: bool,
}

impl Host {
    /// A GET of `/` over TLS, without redirects. An authority that is not known here is no error: `trusted` says so.
    pub fn https_page(&self, door: &Door) -> Result<Page, String> {
        let page = if self.is_fake() {
            self.played_page(door)
        } else {
            match ask(door, true) {
                Err(why) if why.contains("UnknownIssuer") => ask(door, false),
                other => other,
            }
        };
        self.log.event(json!({"type": "page", "name": door.name, "address": door.address, "port": door.port,
            "page": page.as_ref().ok(), "problem": page.as_ref().err()}));
        page
    }

    fn played_page(&self, door: &Door) -> Result<Page, String> {
        let command = self.shell().cmd("https-page").args([door.name, door.address, &door.port.to_string()]);
        let out = self.ask(command, Limits::seconds(10));
        serde_json::from_str(&out.stdout).map_err(|_| out.stderr.trim().to_string())
    }
}

/// How many certificates a PEM file holds; at least one.
pub fn certificates(pem: &[u8]) -> Result<usize, String> {
    let all = Certificate::from_pem_bundle(pem).map_err(|e| http::text(&e))?;
    // Whether each can stand behind others shows when it is put to use.
    let roots = all.iter().cloned().fold(http::client(), |b, c| b.add_root_certificate(c));
    roots.build().map_err(|e| http::text(&e))?;
    if all.is_empty() { Err("there is no BEGIN CERTIFICATE in it".into()) } else { Ok(all.len()) }
}

/// The SHA-256 fingerprint of the first certificate in a PEM file, as browsers show it.
pub fn fingerprint(pem: &[u8]) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let digits = sha256(&der).to_uppercase();
    Some(digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(":"))
}

/// `strict`: only where a known authority stands behind the certificate. The name is looked at afterwards, since an
/// address that is asked for and the one that listens are not the same.
fn ask(door: &Door, strict: bool) -> Result<Page, String> {
    let at: IpAddr = door.address.parse().map_err(|_| format!("{:?} is no address", door.address))?;
    let socket = SocketAddr::new(at, door.port);
    let is_address = door.name.parse::<IpAddr>().is_ok();
    let mut client = http::client().timeout(PAGE_PATIENCE).tls_info(true);
    client =
        if strict { client.danger_accept_invalid_hostnames(true) } else { client.danger_accept_invalid_certs(true) };
    for pem in &door.authorities {
        for authority in Certificate::from_pem_bundle(pem).map_err(|e| http::text(&e))? {
            client = client.add_root_certificate(authority);
        }
    }
    let url = match is_address {
        true => format!("https://{socket}/"),
        false => format!("https://{}:{}/", door.name, door.port),
    };
    let client = client.resolve(door.name, socket).build().map_err(|e| http::text(&e))?;
    let mut request = client.get(url);
    if is_address {
        let named = SocketAddr::new(door.name.parse().unwrap_or(at), door.port);
        request = request.header("Host", named.to_string());
    }
    let response = request.send().map_err(|e| http::text(&e.without_url()))?;
    let der = response.extensions().get::<TlsInfo>().and_then(|i| i.peer_certificate()).unwrap_or_default();
    let (issuer, named) = about(der, door.name)?;
    Ok(Page { status: response.status().as_u16(), issuer, named, trusted: strict })
}

/// Who has signed a certificate, and whether it is for `name`.
fn about(der: &[u8], name: &str) -> Result<(String, bool), String> {
    let der = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&der).map_err(|e| format!("the certificate cannot be read: {e}"))?;
    let name = ServerName::try_from(name).map_err(|e| e.to_string())?;
    Ok((signer(certificate.issuer()), certificate.verify_is_valid_for_subject_name(&name).is_ok()))
}

/// Organisation and common name out of a distinguished name (DER).
fn signer(name: &[u8]) -> String {
    // id-at-organizationName and id-at-commonName; a short string with its tag and length follows.
    let parts = [[6, 3, 85, 4, 10], [6, 3, 85, 4, 3]].iter().filter_map(|oid| {
        let at = name.windows(oid.len()).position(|w| w == oid)? + oid.len();
        let length = usize::from(*name.get(at + 1)?);
        Some(String::from_utf8_lossy(name.get(at + 2..at + 2 + length)?).into_owned())
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_authorities() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut about = rcgen::CertificateParams::new(vec![]).unwrap();
        about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = about.self_signed(&key).unwrap().pem();
        assert_eq!(certificates(pem.as_bytes()), Ok(1));
        assert_eq!(certificates(format!("{pem}{pem}").as_bytes()), Ok(2));
        assert_eq!(fingerprint(pem.as_bytes()).unwrap().len(), 95);
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key.serialize_pem()] {
            assert!(certificates(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_signers() {
        // CN=Caddy Local Authority - ECC Intermediate, then with O=Lab before it.
        let cn = [&[6, 3, 85, 4, 3, 12, 3][..], b"ECC"].concat();
        assert_eq!(signer(&cn), "ECC");
        assert_eq!(signer(&[&[6, 3, 85, 4, 10, 19, 3][..], b"Lab", &cn].concat()), "Lab, ECC");
        assert_eq!(signer(&cn[..8]), "");
    }
}
