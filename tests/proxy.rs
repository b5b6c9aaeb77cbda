//! Downloads where the way out is a proxy, and where the authority is one's own. Nothing leaves the machine:
//! `downloads.example.org` is only ever named to a proxy on loopback.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use awg_install::error::{Error, Kind};
use awg_install::fetch::{Pace, Wanted, to_memory};
use awg_install::host::{FAKE_MARK, Host, files::sha256};
use support::server::{BODY, Server, head, say, serve, whole};
use support::{CONFIG, CONFIG_TEXT, LTS, Root, module};

const PLAIN: &str = "http://downloads.example.org/file";
const SECURE: &str = "https://downloads.example.org/file";

/// Fetches with this environment of the host, whatever that of the test is.
fn fetch(root: &Root, url: &str, env: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    fetch_with(root, url, env, Some(&sha256(BODY)))
}

fn fetch_with(root: &Root, url: &str, env: &[(&str, &str)], sha256: Option<&str>) -> Result<Vec<u8>, Error> {
    std::fs::create_dir_all(root.path(FAKE_MARK)).unwrap();
    let env = env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let host = Host::new(Some(root.dir()), env).unwrap();
    let url = url.parse().unwrap();
    let pace = Pace { stall: Duration::from_secs(5), pause: Duration::from_millis(5), ..Pace::default() };
    to_memory(&host, &Wanted { url: &url, sha256, limit: 1000 }, pace, &mut |_, _| {})
}

fn first_lines(server: &Server) -> Vec<String> {
    server.requests.lock().unwrap().iter().map(|lines| lines[0].clone()).collect()
}

#[test]
fn plain_http_asks_the_proxy_for_the_whole_address() {
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = serve(|_, _, stream| whole(stream));
        let address = format!("http://admin:secret@{}", proxy.address);
        assert_eq!(fetch(&Root::empty(), PLAIN, &[(name, &address)]).unwrap(), BODY, "{name}");
        assert_eq!(first_lines(&proxy), [format!("get {PLAIN} http/1.1")], "{name}");
        let sent = proxy.requests.lock().unwrap()[0].iter().any(|l| l.starts_with("proxy-authorization: basic "));
        assert!(sent, "{name}: the proxy is not told who asks");
    }
    // As people write it, without the scheme.
    let proxy = serve(|_, _, stream| whole(stream));
    assert_eq!(fetch(&Root::empty(), PLAIN, &[("HTTP_PROXY", &proxy.address)]).unwrap(), BODY);
}

/// Behind the proxy: a server with a certificate of its own, written to `/ca.pem` of `root`.
fn tunnel(root: &Root, answer: fn(&mut dyn Write)) -> (Server, Arc<Mutex<Vec<String>>>) {
    let made = rcgen::generate_simple_self_signed(["downloads.example.org".to_string()]).unwrap();
    root.write("/ca.pem", &made.cert.pem());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let inside = Arc::new(Mutex::new(Vec::new()));
    let asked = inside.clone();
    let proxy = serve(move |_, _, stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut secure = rustls::Stream::new(&mut session, stream);
        let Some(first) = head(&mut secure).into_iter().next() else { return };
        asked.lock().unwrap().push(first);
        answer(&mut secure);
        secure.conn.send_close_notify();
        let _ = secure.flush();
    });
    (proxy, inside)
}

#[test]
fn https_goes_through_a_tunnel_that_the_proxy_cannot_look_into() {
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let root = Root::empty();
        let (proxy, inside) = tunnel(&root, |mut stream| whole(&mut stream));
        let address = format!("http://{}", proxy.address);
        let env = [(name, address.as_str()), ("SSL_CERT_FILE", "/ca.pem")];
        assert_eq!(fetch(&root, SECURE, &env).unwrap(), BODY, "{name}");
        assert_eq!(first_lines(&proxy), ["connect downloads.example.org:443 http/1.1"], "{name}");
        assert_eq!(*inside.lock().unwrap(), ["get /file http/1.1"], "{name}");
    }
}

#[test]
fn an_authority_that_is_not_known_is_not_trusted() {
    let root = Root::empty();
    let (proxy, inside) = tunnel(&root, |mut stream| whole(&mut stream));
    let error = fetch(&root, SECURE, &[("HTTPS_PROXY", &proxy.address)]).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "the way out is named: {error}");
    assert!(inside.lock().unwrap().is_empty(), "nothing is asked of it");
}

#[test]
fn https_does_not_lead_to_plain_http() {
    let root = Root::empty();
    let (proxy, inside) =
        tunnel(&root, |mut stream| say(&mut stream, "302 Found", &format!("Location: {PLAIN}\r\n"), b"", 0));
    let address = format!("http://{}", proxy.address);
    let env = [("HTTPS_PROXY", address.as_str()), ("HTTP_PROXY", &address), ("SSL_CERT_FILE", "/ca.pem")];
    let error = fetch(&root, SECURE, &env).unwrap_err();
    assert!(error.to_string().contains("it redirects from https to plain http"), "{error}");
    assert_eq!(first_lines(&proxy), ["connect downloads.example.org:443 http/1.1"]);
    assert_eq!(inside.lock().unwrap().len(), 1, "and it is not tried again");
}

/// Plain http is for this machine alone, unless a checksum vouches for what comes.
#[test]
fn this_machine_does_not_lead_to_plain_http_elsewhere() {
    let proxy = serve(|_, _, stream| whole(stream));
    let server = serve(|_, _, stream| say(stream, "302 Found", &format!("Location: {PLAIN}\r\n"), b"", 0));
    let (url, env) = (server.url.to_string(), [("HTTP_PROXY", proxy.address.as_str())]);
    let error = fetch_with(&Root::empty(), &url, &env, None).unwrap_err();
    assert!(error.to_string().contains("it redirects to plain http elsewhere"), "{error}");
    assert_eq!((server.count(), proxy.count()), (1, 0));
    assert_eq!(fetch(&Root::empty(), &url, &env).unwrap(), BODY);
    let here = serve(move |_, _, stream| say(stream, "302 Found", &format!("Location: {url}\r\n"), b"", 0));
    let other = serve(|_, _, stream| whole(stream));
    let to_other = format!("Location: {}\r\n", other.url);
    let chain = serve(move |_, _, stream| say(stream, "302 Found", &to_other, b"", 0));
    assert_eq!(fetch_with(&Root::empty(), &chain.url.to_string(), &[], None).unwrap(), BODY);
    fetch_with(&Root::empty(), &here.url.to_string(), &env, None).unwrap_err();
    assert_eq!(proxy.count(), 1, "by no detour either");
}

#[test]
fn a_proxy_that_refuses() {
    let proxy = serve(|_, _, stream| say(stream, "403 Forbidden", "", b"", 0));
    let address = format!("http://admin:secret@{}", proxy.address);
    let error = fetch(&Root::empty(), SECURE, &[("HTTPS_PROXY", &address)]).unwrap_err();
    assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(error.kind, Kind::Host);
    let error = fetch(&Root::empty(), PLAIN, &[("HTTP_PROXY", &address)]).unwrap_err();
    assert!(error.to_string().contains("403 Forbidden"), "{error}");
}

#[test]
fn what_is_excepted_goes_straight() {
    let proxy = serve(|_, _, stream| say(stream, "502 Bad Gateway", "", b"", 0));
    let server = serve(|_, _, stream| whole(stream));
    let address = format!("http://{}", proxy.address);
    // This machine, whatever is set: a proxy elsewhere would reach another one.
    let straight = fetch(&Root::empty(), &server.url.to_string(), &[("HTTP_PROXY", &address)]);
    assert_eq!(straight.unwrap(), BODY);
    // An address that is this machine and is not called so.
    let other = server.url.to_string().replace("127.0.0.1", "0.0.0.0");
    for name in ["NO_PROXY", "no_proxy"] {
        let env = [("HTTP_PROXY", address.as_str()), (name, "example.org, 0.0.0.0")];
        assert_eq!(fetch(&Root::empty(), &other, &env).unwrap(), BODY, "{name}");
    }
    assert_eq!((proxy.count(), server.count()), (0, 3));
    fetch(&Root::empty(), &other, &[("HTTP_PROXY", &address), ("NO_PROXY", "example.org")]).unwrap_err();
    assert!(proxy.count() > 0 && server.count() == 3, "what is not excepted does not");
}

#[test]
fn what_is_no_proxy_is_said_and_not_passed_by() {
    for (value, says) in [
        ("socks5://admin:secret@127.0.0.1:1080", "proxies of kind \"socks5\" are not supported"),
        ("http://admin:secret@:::", "is not the address of a proxy"),
    ] {
        let error = fetch(&Root::empty(), PLAIN, &[("ALL_PROXY", value)]).unwrap_err();
        assert_eq!(error.kind, Kind::Config, "{error}");
        assert!(error.to_string().contains("ALL_PROXY"), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// The module comes from afar, and so slowly that people want to know.
#[test]
fn a_module_through_a_proxy_with_its_progress() {
    let bytes = module::good().bytes();
    let sum = sha256(&bytes);
    let proxy = serve(move |_, _, stream| {
        say(stream, "200 OK", "", &bytes[..500], bytes.len());
        std::thread::sleep(Duration::from_millis(1100));
        let _ = stream.write_all(&bytes[500..]);
    });
    let source = format!("source: url\n  url: http://downloads.example.org/amneziawg.ko\n  sha256: {sum}\n");
    let mut root = Root::prepared(&[], CONFIG_TEXT);
    root.write(CONFIG, &CONFIG_TEXT.replace("source: file\n  path: /root/amneziawg.ko\n", &source));
    root.set("HTTP_PROXY", &format!("http://{}", proxy.address));

    let quiet = root.copy().run(&["--unattended", "--config", CONFIG, "--quiet"]).expect(0);
    assert!(!quiet.out.contains("fetching the module"), "{}", quiet.out);
    let json = root.copy().run(&["--unattended", "--config", CONFIG, "--output", "json"]).expect(0);
    let events: Vec<serde_json::Value> = json.out.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    let progress: Vec<&serde_json::Value> = events.iter().filter(|e| e["type"] == "progress").collect();
    assert_eq!(progress.len(), 1, "{}", json.out);
    assert_eq!(progress[0]["what"], "fetching the module");
    assert_eq!(progress[0]["bytes"], progress[0]["total"]);
    let text = root.install().expect(0).says("fetching the module: ");
    assert!(!text.out.contains('\r') && !text.out.contains('\u{1b}'), "no terminal: {:?}", text.out);
    assert!(root.exists(&format!("/lib/modules/{LTS}/extra/amneziawg.ko")));
    assert!(first_lines(&proxy).iter().all(|l| l == "get http://downloads.example.org/amneziawg.ko http/1.1"));
}
