//! Looking at a page over TLS for real: a server on loopback with certificates of every kind.

mod support;

use std::io::Write;
use std::sync::Arc;

use awg_install::host::Host;
use awg_install::host::tls::{Door, Page};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use support::server::{Server, head, say, serve};

/// An authority, as PEM, and what it signs with.
fn authority(name: &str) -> (Vec<u8>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut about = CertificateParams::new(vec![]).unwrap();
    about.distinguished_name.push(DnType::OrganizationName, "Lab");
    about.distinguished_name.push(DnType::CommonName, name);
    about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = about.self_signed(&key).unwrap().pem().into_bytes();
    (pem, Issuer::new(about, key))
}

/// Answers over TLS with a certificate for `name`, signed by `issuer`; `ended`: it was valid until long ago.
fn page(name: &str, issuer: &Issuer<KeyPair>, ended: bool) -> Server {
    let key = KeyPair::generate().unwrap();
    let mut about = CertificateParams::new(vec![name.to_string()]).unwrap();
    if ended {
        about.not_before = rcgen::date_time_ymd(2020, 1, 1);
        about.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let certificate = about.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    secure(Arc::new(config))
}

fn secure(config: Arc<rustls::ServerConfig>) -> Server {
    support::server::accept(move |stream| {
        let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut secure = rustls::Stream::new(&mut session, stream);
        let lines = head(&mut secure);
        if !lines.is_empty() {
            // What a virtual host would go by.
            let named =
                lines.iter().any(|l| l.starts_with("host: vpn.example.org:") || l.starts_with("host: 203.0.113.5:"));
            say(&mut secure, if named { "302 Found" } else { "404 Not Found" }, "", b"", 0);
        }
        secure.conn.send_close_notify();
        let _ = secure.flush();
    })
}

fn look(server: &Server, name: &str, authorities: &[&Vec<u8>]) -> Result<Page, String> {
    let (address, port) = server.address.rsplit_once(':').unwrap();
    let authorities = authorities.iter().map(|pem| pem.to_vec()).collect();
    let host = Host::new(None, Default::default()).unwrap();
    host.https_page(&Door { name, address, port: port.parse().unwrap(), authorities })
}

#[test]
fn names_and_addresses() {
    let (pem, issuer) = authority("Test Authority");
    for name in ["vpn.example.org", "203.0.113.5"] {
        let page = look(&page(name, &issuer, false), name, &[&pem]).unwrap();
        let wanted = Page { status: 302, issuer: "Lab, Test Authority".into(), named: true, trusted: true };
        assert_eq!(page, wanted, "{name}");
    }
}

#[test]
fn an_authority_that_is_not_known() {
    let (_, issuer) = authority("Test Authority");
    let (other, _) = authority("Another");
    for name in ["vpn.example.org", "203.0.113.5"] {
        let page = look(&page(name, &issuer, false), name, &[&other]).unwrap();
        assert_eq!((page.status, page.named, page.trusted), (302, true, false), "{name}");
        assert_eq!(page.issuer, "Lab, Test Authority");
    }
}

#[test]
fn a_certificate_for_another_name() {
    let (pem, issuer) = authority("Test Authority");
    for (its, asked) in [("other.example.org", "vpn.example.org"), ("203.0.113.6", "203.0.113.5")] {
        let page = look(&page(its, &issuer, false), asked, &[&pem]).unwrap();
        assert!(page.trusted && !page.named, "{page:?}");
    }
}

#[test]
fn what_is_no_page() {
    let (pem, issuer) = authority("Test Authority");
    let ended = page("vpn.example.org", &issuer, true);
    for known in [vec![&pem], vec![]] {
        let why = look(&ended, "vpn.example.org", &known).unwrap_err();
        assert!(why.contains("certificate expired"), "{why}");
    }
    // As Caddy does while it has none: the handshake ends with an alert.
    let provider = rustls::crypto::ring::default_provider();
    let none = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
    assert!(look(&secure(Arc::new(none)), "vpn.example.org", &[&pem]).is_err());
    let plain = serve(|_, _, stream| say(stream, "200 OK", "", b"", 0));
    assert!(look(&plain, "vpn.example.org", &[&pem]).is_err());
}
