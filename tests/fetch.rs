//! Downloads, against a server on loopback that misbehaves in every way that servers do.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use awg_install::config::Url;
use awg_install::error::{Error, Kind};
use awg_install::fetch::{Pace, Wanted, to_file, to_memory};
use awg_install::host::{Host, files::sha256};
use support::server::{BODY, say, serve, whole};

fn quick() -> Pace {
    let milliseconds = Duration::from_millis;
    Pace { stall: milliseconds(1500), window: milliseconds(300), floor: 100, pause: milliseconds(10) }
}

struct Place {
    dir: tempdir::Dir,
}

/// A directory of its own that goes with its owner.
mod tempdir {
    pub struct Dir(pub std::path::PathBuf);

    impl Dir {
        pub fn new() -> Dir {
            static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("awg-fetch-{}-{number}", std::process::id()));
            std::fs::create_dir_all(dir.join(".fakeroot/bin")).unwrap();
            Dir(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Place {
    fn new() -> Place {
        Place { dir: tempdir::Dir::new() }
    }

    fn host(&self) -> Host {
        Host::new(Some(&self.dir.0), Default::default()).unwrap()
    }

    fn fetch(&self, url: &Url, checksum: Option<&str>, limit: u64) -> Result<(), Error> {
        let wanted = Wanted { url, sha256: checksum, limit };
        to_file(&self.host(), &wanted, quick(), "/file", 0o644, &mut |_, _| {})
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.0.join(name)).ok()
    }
}

/// What is said of a server, and that nothing of its answer came into place.
fn refused(
    checksum: bool,
    answer: impl Fn(usize, &[String], &mut TcpStream) + Send + Sync + 'static,
) -> (Error, usize) {
    let server = serve(answer);
    let place = Place::new();
    let sum = sha256(BODY);
    let error = place.fetch(&server.url, checksum.then_some(sum.as_str()), 1000).unwrap_err();
    assert!(place.read("file").is_none(), "{error}");
    let requests = server.count();
    (error, requests)
}

#[test]
fn a_file_arrives() {
    let server = serve(|_, _, stream| whole(stream));
    let place = Place::new();
    let mut told = Vec::new();
    let wanted = Wanted { url: &server.url, sha256: Some(&sha256(BODY)), limit: 1000 };
    to_file(&place.host(), &wanted, quick(), "/file", 0o640, &mut |have, of| told.push((have, of))).unwrap();
    assert_eq!(place.read("file").unwrap(), BODY);
    assert!(place.read("file.part").is_none());
    assert_eq!(told.last(), Some(&(36, Some(36))));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(place.dir.0.join("file")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(to_memory(&place.host(), &wanted, quick(), &mut |_, _| {}).unwrap(), BODY);
}

#[test]
fn what_can_pass_is_tried_again() {
    let server = serve(|number, _, stream| match number {
        1 => drop(stream.shutdown(std::net::Shutdown::Both)),
        2 => say(stream, "503 Service Unavailable", "", b"", 0),
        3 => say(stream, "429 Too Many Requests", "Retry-After: 0\r\n", b"", 0),
        _ => whole(stream),
    });
    let place = Place::new();
    place.fetch(&server.url, None, 1000).unwrap();
    assert_eq!(place.read("file").unwrap(), BODY);
    assert_eq!(server.count(), 4);
}

#[test]
fn half_a_file_is_gone_on_with() {
    let server = serve(|number, _, stream| match number {
        1 => say(stream, "200 OK", "", &BODY[..10], BODY.len()),
        _ => say(stream, "206 Partial Content", "Content-Range: bytes 10-35/36\r\n", &BODY[10..], 26),
    });
    let place = Place::new();
    place.fetch(&server.url, Some(&sha256(BODY)), 1000).unwrap();
    assert_eq!(place.read("file").unwrap(), BODY);
    assert_eq!(server.ranges(), ["none", "10-"]);
}

#[test]
fn a_later_run_goes_on_where_the_first_was_cut_off() {
    let place = Place::new();
    std::fs::write(place.dir.0.join("file.part"), &BODY[..20]).unwrap();
    let server = serve(|_, _, stream| {
        say(stream, "206 Partial Content", "Content-Range: bytes 20-35/36\r\n", &BODY[20..], 16);
    });
    place.fetch(&server.url, Some(&sha256(BODY)), 1000).unwrap();
    assert_eq!(place.read("file").unwrap(), BODY);
    assert_eq!(server.ranges(), ["20-"]);
}

#[test]
fn what_was_there_of_another_file_does_not_matter() {
    let answers: [fn(usize, &[String], &mut TcpStream); 3] = [
        // The server goes on with a file that is another one by now.
        |number, _, stream| match number {
            1 => say(stream, "206 Partial Content", "Content-Range: bytes 20-35/36\r\n", &BODY[20..], 16),
            _ => whole(stream),
        },
        // It cannot go on and sends all of it.
        |_, _, stream| whole(stream),
        // It has less than that.
        |number, _, stream| match number {
            1 => say(stream, "416 Range Not Satisfiable", "", b"", 0),
            _ => whole(stream),
        },
    ];
    for answer in answers {
        let place = Place::new();
        std::fs::write(place.dir.0.join("file.part"), [b'x'; 20]).unwrap();
        let server = serve(answer);
        place.fetch(&server.url, Some(&sha256(BODY)), 1000).unwrap();
        assert_eq!(place.read("file").unwrap(), BODY);
    }
    // Whole already, and only not in its place.
    let place = Place::new();
    std::fs::write(place.dir.0.join("file.part"), BODY).unwrap();
    let server = serve(|_, _, stream| say(stream, "416 Range Not Satisfiable", "", b"", 0));
    place.fetch(&server.url, Some(&sha256(BODY)), 1000).unwrap();
    assert_eq!(place.read("file").unwrap(), BODY);
}

#[test]
fn without_a_checksum_nothing_is_gone_on_with() {
    let place = Place::new();
    std::fs::write(place.dir.0.join("file.part"), [b'x'; 20]).unwrap();
    let server = serve(|number, _, stream| match number {
        1 => say(stream, "200 OK", "", &BODY[..10], BODY.len()),
        _ => whole(stream),
    });
    place.fetch(&server.url, None, 1000).unwrap();
    assert_eq!(place.read("file").unwrap(), BODY);
    assert_eq!(server.ranges(), ["none", "none"]);
}

#[test]
fn what_a_mirror_can_do_wrong() {
    let (error, requests) = refused(false, |_, _, stream| say(stream, "404 Not Found", "", b"", 0));
    assert!(error.to_string().contains("404 Not Found"), "{error}");
    assert_eq!((error.kind, requests), (Kind::Host, 1));

    let (error, requests) = refused(false, |_, _, stream| say(stream, "500 Internal Server Error", "", b"", 0));
    assert!(error.to_string().contains("500 Internal Server Error (attempt 4)"), "{error}");
    assert_eq!(requests, 4);

    let (error, requests) =
        refused(true, |_, _, stream| say(stream, "200 OK", "Content-Type: text/html\r\n", b"<html>", 6));
    assert!(error.to_string().contains("a web page came instead"), "{error}");
    assert_eq!(requests, 1);

    let (error, _) = refused(true, |_, _, stream| say(stream, "200 OK", "", b"something else", 14));
    assert!(error.to_string().contains("is not the file that was asked for"), "{error}");
    assert_eq!(error.kind, Kind::Artifact);

    let (error, _) = refused(false, |_, _, stream| say(stream, "200 OK", "", &BODY[..9], BODY.len()));
    assert!(error.to_string().contains("the transfer broke after 9 of 36 bytes"), "{error}");

    let (error, requests) = refused(false, |_, _, stream| say(stream, "200 OK", "", &[0; 100], 5000));
    assert!(error.to_string().contains("larger than the 1000 bytes that are taken (5000 are announced)"), "{error}");
    assert_eq!(requests, 1);

    // Says nothing of its length, and does not end.
    let (error, _) = refused(false, |_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 600]).is_ok() {}
    });
    assert!(error.to_string().contains("larger than the 1000 bytes that are taken (more keeps coming)"), "{error}");

    let (error, _) = refused(false, |_, _, stream| {
        say(stream, "200 OK", "", b"", BODY.len());
        for byte in BODY {
            std::thread::sleep(Duration::from_millis(50));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    assert!(error.to_string().contains("it comes too slowly"), "{error}");

    let (error, _) = refused(false, |_, _, stream| {
        say(stream, "302 Found", "Location: /file\r\n", b"", 0);
    });
    assert!(error.to_string().contains("it redirects again and again"), "{error}");
}

#[test]
fn silence_ends() {
    let server = serve(|_, _, stream| {
        say(stream, "200 OK", "", &BODY[..4], BODY.len());
        std::thread::sleep(Duration::from_secs(20));
    });
    let began = std::time::Instant::now();
    let pace = Pace { stall: Duration::from_millis(200), ..quick() };
    let wanted = Wanted { url: &server.url, sha256: None, limit: 1000 };
    let error = to_memory(&Place::new().host(), &wanted, pace, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("cannot be fetched"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn plain_http_needs_a_checksum() {
    let url: Url = "http://downloads.example.org/file".parse().unwrap();
    let error = Place::new().fetch(&url, None, 1000).unwrap_err();
    assert_eq!(error.kind, Kind::Config);
    assert!(error.to_string().contains("plain http, and no checksum vouches"), "{error}");
}

#[test]
fn a_file_of_authorities_must_hold_some() {
    let place = Place::new();
    std::fs::write(place.dir.0.join("ca.pem"), "nothing\n").unwrap();
    let env = [("SSL_CERT_FILE".to_string(), "/ca.pem".to_string())].into();
    let host = Host::new(Some(&place.dir.0), env).unwrap();
    let url: Url = "https://127.0.0.1:1/file".parse().unwrap();
    let wanted = Wanted { url: &url, sha256: None, limit: 1000 };
    let error = to_memory(&host, &wanted, quick(), &mut |_, _| {}).unwrap_err();
    assert_eq!(error.kind, Kind::Config);
    assert!(error.to_string().contains("SSL_CERT_FILE /ca.pem: no certificates"), "{error}");
}
