//! The engine's socket in a prepared root, as a real host has it; the stand-in program knows the answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use super::Root;

/// Where the program looks for it.
pub const SOCKET: &str = "/var/run/docker.sock";

/// Every question that came, as `GET /version`.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// Listens for as long as this process lives.
pub fn listen(root: &Root) -> Asked {
    let place = root.path(SOCKET);
    std::fs::create_dir_all(place.parent().expect("below the root")).expect("a directory");
    let listener = UnixListener::bind(&place).expect("a socket");
    let (asked, dir) = (Asked::default(), root.dir().to_path_buf());
    let seen = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (seen, dir) = (seen.clone(), dir.clone());
            std::thread::spawn(move || drop(serve(stream, &seen, dir)));
        }
    });
    asked
}

fn serve(mut stream: UnixStream, seen: &Asked, dir: PathBuf) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?).lines();
    while let Some(first) = requests.next() {
        let line = first?;
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        seen.lock().expect("no panic").push(format!("{method} {path}"));
        // None of them has a body.
        while requests.next().is_some_and(|header| header.is_ok_and(|h| !h.is_empty())) {}
        let answer = Command::new(dir.join(format!(".fakeroot/bin/engine-{}", method.to_lowercase())))
            .arg(path)
            .env("FAKE_ROOT", &dir)
            // The program has started none of these.
            .env("FAKE_NESTED", "1")
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let (status, body) = text.split_once('\n').unwrap_or(("500", "{}"));
        // These have no body, and whatever followed them would be taken for the next answer.
        let (length, body) = match status {
            "204" | "304" => (String::new(), ""),
            _ => (format!("Content-Length: {}\r\n", body.len()), body),
        };
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{length}\r\n{body}");
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}
