//! A site that serves a signed catalog on loopback, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use awg_install::config::{self, Url};
use awg_install::host::files::sha256;
use awg_install::host::log::timestamp;
use minisign::KeyPair;
use serde_json::{Value, json};

use super::server;

/// How a path is answered.
#[derive(Clone)]
pub enum Answer {
    File(Vec<u8>),
    /// What a network with a login says to everything.
    WebPage,
    /// As many bytes of it, where all are announced.
    Broken(Vec<u8>, usize),
    Status(&'static str),
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub path: String,
    pub status: u16,
    /// Of the answer's body.
    pub bytes: usize,
}

type Maker = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

#[derive(Clone)]
pub struct Site {
    files: Arc<Mutex<BTreeMap<String, Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Of the catalog.
    pub base: Url,
}

impl Site {
    pub fn new() -> Site {
        Site::with(|_| None)
    }

    /// What is not there is asked of `maker`.
    pub fn with(maker: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}/catalog/", listener.local_addr().expect("bound")).parse().expect("a URL");
        let site = Site { files: Arc::default(), seen: Arc::default(), base };
        let (server, maker): (Site, Arc<Maker>) = (site.clone(), Arc::new(maker));
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| server.answer(stream, &maker)));
        site
    }

    pub fn put(&self, path: &str, answer: Answer) {
        self.files.lock().expect("no panic").insert(format!("/catalog/{path}"), answer);
    }

    pub fn put_file(&self, path: &str, bytes: &[u8]) {
        self.put(path, Answer::File(bytes.to_vec()));
    }

    pub fn remove(&self, path: &str) {
        self.files.lock().expect("no panic").remove(&format!("/catalog/{path}"));
    }

    /// A document and its signature.
    pub fn publish(&self, path: &str, document: &Value, key: &KeyPair) {
        let bytes = document.to_string().into_bytes();
        self.put_file(&format!("{path}.minisig"), sign(&bytes, key).as_bytes());
        self.put_file(path, &bytes);
    }

    /// What it was asked since this was called last, without the catalog's own path.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }

    fn answer(&self, mut stream: TcpStream, maker: &Arc<Maker>) {
        let lines = server::head(&stream);
        let path = lines.first().and_then(|l| l.split(' ').nth(1)).unwrap_or_default().to_string();
        let condition = lines.iter().find_map(|l| l.strip_prefix("if-none-match: ").map(String::from));
        let listed = self.files.lock().expect("no panic").get(&path).cloned();
        let answer = listed.or_else(|| maker(path.trim_start_matches("/catalog/")).map(Answer::File));
        let (status, kind, body, announced) = match answer {
            None => ("404 Not Found", "text/html", b"<h1>not here</h1>".to_vec(), None),
            Some(Answer::Status(status)) => (status, "text/plain", Vec::new(), None),
            Some(Answer::WebPage) => ("200 OK", "text/html; charset=utf-8", b"<html>log in</html>".to_vec(), None),
            Some(Answer::Broken(bytes, at)) => ("200 OK", "application/json", bytes[..at].to_vec(), Some(bytes.len())),
            Some(Answer::File(bytes)) => match condition == Some(etag(&bytes)) {
                true => ("304 Not Modified", "application/json", Vec::new(), None),
                false => ("200 OK", "application/json", bytes, None),
            },
        };
        let tag = if status.starts_with("200") { format!("ETag: {}\r\n", etag(&body)) } else { String::new() };
        self.seen.lock().expect("no panic").push(Seen {
            path: path.trim_start_matches("/catalog/").to_string(),
            status: status[..3].parse().expect("a number"),
            bytes: body.len(),
        });
        let headers = format!("Content-Type: {kind}\r\n{tag}");
        server::say(&mut stream, status, &headers, &body, announced.unwrap_or(body.len()));
    }
}

/// What it calls a version of a file.
pub fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256(bytes)[..16])
}

pub fn key() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("a key")
}

pub fn sign(bytes: &[u8], key: &KeyPair) -> String {
    let signed = minisign::sign(Some(&key.pk), &key.sk, Cursor::new(bytes), Some("a test's"), None);
    signed.expect("signed").into_string()
}

/// As it stands in a configuration.
pub fn public(key: &KeyPair) -> config::PublicKey {
    key.pk.to_base64().parse().expect("a public key")
}

/// Now, some days later or earlier.
pub fn day(days: i64) -> String {
    let seconds = Duration::from_secs(days.unsigned_abs() * 86_400);
    let now = SystemTime::now();
    timestamp(if days < 0 { now - seconds } else { now + seconds })
}

/// What every document begins with, signed yesterday for a month.
pub fn head(kind: &str, arch: &str, serial: u64) -> Value {
    json!({"kind": kind, "version": 1, "name": "a test's", "arch": arch, "serial": serial,
        "issued": day(-1), "expires": day(30)})
}

/// What there is for a release: one module, at its place below the catalog.
pub fn shard(release: &str, serial: u64, module: &[u8]) -> Value {
    let mut shard = head("release", "x86_64", serial);
    let sum = sha256(module);
    shard["release"] = json!(release);
    shard["modules"] = json!([{"sha256": sum, "size": module.len(), "url": object(&sum, "../../"),
        "srcversion": "0123456789ABCDEF0123456", "netlink": 3, "version": "1.0.0"}]);
    shard["kernel"] = json!([]);
    shard
}

/// Where a file lies, from `here`.
pub fn object(sum: &str, here: &str) -> String {
    format!("{here}objects/{}/{sum}", &sum[..2])
}
