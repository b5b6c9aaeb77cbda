//! Work that the engine is asked for, and whose progress it tells line by line.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::super::{Host, Limits};
use super::{ENGINE_SOCKET, client};

/// Between two looks at whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Longest line, and longest document of a refusal.
const LONGEST: u64 = 64 << 10;

/// Something to be done by the engine.
pub struct Post<'a> {
    pub path: &'a str,
    /// A header that nobody but the engine may see.
    pub secret: Option<(&'static str, &'a str)>,
    /// How long nothing new may come.
    pub patience: Duration,
}

/// How the engine's work has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It has answered to the end: the status, and the document where it refused.
    Whole(u16, Value),
    /// Nothing new has come for as long as was allowed.
    Stalled,
    /// The run was asked to stop.
    Stopped,
    /// Nothing listens, or the answer broke off: in words.
    Broken(String),
}

enum Part {
    Line(Value),
    End(Ended),
}

impl Host {
    /// A POST to the engine's own interface. `each` gets every line of the answer as it comes.
    pub fn engine_post(&self, post: &Post, each: &mut dyn FnMut(&Value)) -> Ended {
        let began = Instant::now();
        let ended = if self.plays_engine() { self.played(post, each) } else { self.asked(post, each) };
        let status = match &ended {
            Ended::Whole(status, _) => json!(status),
            Ended::Stalled => json!("stalled"),
            Ended::Stopped => json!("stopped"),
            Ended::Broken(_) => json!("broken"),
        };
        self.log.event(json!({"type": "engine", "method": "post", "path": post.path, "status": status,
            "ms": began.elapsed().as_millis() as u64}));
        ended
    }

    fn asked(&self, post: &Post, each: &mut dyn FnMut(&Value)) -> Ended {
        let request = match request(&self.path(ENGINE_SOCKET), post) {
            Ok(request) => request,
            Err(why) => return Ended::Broken(why),
        };
        streamed(request, post.patience, &|| self.stop_requested().is_some(), each)
    }

    /// The stand-in prints the status on a line of its own, then the lines. What is secret comes to it on
    /// its standard input, since others can see arguments.
    fn played(&self, post: &Post, each: &mut dyn FnMut(&Value)) -> Ended {
        let secret = post.secret.map(|(name, value)| format!("{name}: {value}\n")).unwrap_or_default();
        let limits = Limits { time: post.patience, stdin: Some(secret.into_bytes()) };
        let out = self.ask(self.shell().cmd("engine-post").arg(post.path), limits);
        if out.timed_out {
            return if self.stop_requested().is_some() { Ended::Stopped } else { Ended::Stalled };
        }
        let (status, body) = out.stdout.split_once('\n').unwrap_or_default();
        let mut lines = body.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null));
        match status.parse() {
            Ok(status @ 200..=299) if out.ok() => {
                lines.for_each(|line| each(&line));
                Ended::Whole(status, Value::Null)
            }
            Ok(status) if out.ok() => Ended::Whole(status, lines.next().unwrap_or(Value::Null)),
            _ => Ended::Broken(out.tail(3)),
        }
    }
}

fn request(socket: &Path, post: &Post) -> Result<RequestBuilder, String> {
    // Of one read: the thread that reads must end by itself where nobody listens to it any more.
    let patience = post.patience + LOOK * 5;
    let client: Client = client().unix_socket(socket).timeout(patience).build().map_err(|e| e.to_string())?;
    let mut request = client.post(format!("http://docker{}", post.path));
    if let Some((name, value)) = post.secret {
        let mut value = HeaderValue::from_str(value).map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    Ok(request)
}

/// Sends the request and hands on what comes, until it ends, nothing comes, or `stop` says so.
fn streamed(
    request: RequestBuilder,
    patience: Duration,
    stop: &dyn Fn() -> bool,
    each: &mut dyn FnMut(&Value),
) -> Ended {
    let (sender, parts) = mpsc::channel();
    std::thread::spawn(move || {
        let end = match request.send() {
            Ok(response) => read(response, &sender),
            // Its own time limit is longer than ours.
            Err(e) => Ended::Broken(reason(&e)),
        };
        let _ = sender.send(Part::End(end));
    });
    let mut last = Instant::now();
    loop {
        if stop() {
            return Ended::Stopped;
        }
        match parts.recv_timeout(LOOK) {
            Ok(Part::Line(line)) => {
                last = Instant::now();
                each(&line);
            }
            Ok(Part::End(end)) => return end,
            Err(RecvTimeoutError::Timeout) if last.elapsed() >= patience => return Ended::Stalled,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ended::Broken("the answer cannot be read".into()),
        }
    }
}

fn read(response: Response, parts: &mpsc::Sender<Part>) -> Ended {
    let status = response.status();
    let mut body = BufReader::new(response);
    let mut text = Vec::new();
    if !status.is_success() {
        let _ = body.take(LONGEST).read_to_end(&mut text);
        let document =
            serde_json::from_slice(&text).unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&text).trim()}));
        return Ended::Whole(status.as_u16(), document);
    }
    loop {
        text.clear();
        match body.by_ref().take(LONGEST).read_until(b'\n', &mut text) {
            Ok(0) => return Ended::Whole(status.as_u16(), Value::Null),
            Ok(_) => {
                let line = serde_json::from_slice(&text).unwrap_or(Value::Null);
                if parts.send(Part::Line(line)).is_err() {
                    return Ended::Stopped;
                }
            }
            Err(e) => return Ended::Broken(format!("the engine broke off: {e}")),
        }
    }
}

/// An error with what it comes from.
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// What an engine on a socket of its own is asked, and what comes of its answer.
    fn told(
        patience: Duration,
        stop: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&Value),
        answer: impl FnOnce(&mut UnixStream) + Send + 'static,
    ) -> (Ended, String) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("awg-install-engine-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 4096];
            let n = stream.read(&mut asked).unwrap();
            answer(&mut stream);
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        let post = Post { path: "/images/create?tag=15", secret: Some(("x-registry-auth", "c2VjcmV0")), patience };
        let ended = streamed(request(&socket, &post).unwrap(), patience, stop, each);
        std::fs::remove_file(&socket).unwrap();
        (ended, engine.join().unwrap())
    }

    fn chunk(stream: &mut UnixStream, text: &str) {
        // Whoever does not wait for the end has closed.
        let _ = write!(stream, "{:x}\r\n{text}\r\n", text.len());
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn lines_come_as_they_are_written_however_they_are_cut() {
        let seen = std::cell::RefCell::new(Vec::new());
        let (hear, heard) = mpsc::channel();
        let (ended, asked) = told(
            LONG,
            &|| false,
            &mut |line| {
                seen.borrow_mut().push(line["n"].clone());
                let _ = hear.send(());
            },
            move |stream| {
                stream.write_all(HEAD.as_bytes()).unwrap();
                chunk(stream, "{\"n\":1}\r\n{\"n\"");
                // The first line is handed on before the second is whole.
                heard.recv_timeout(LONG).unwrap();
                chunk(stream, ":2}\nno json\n");
                stream.write_all(b"0\r\n\r\n").unwrap();
            },
        );
        assert_eq!(ended, Ended::Whole(200, Value::Null));
        assert_eq!(*seen.borrow(), [json!(1), json!(2), Value::Null]);
        assert!(asked.starts_with("POST /images/create?tag=15 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("\r\nx-registry-auth: c2vjcmv0\r\n"), "{asked}");
    }

    #[test]
    fn a_refusal_is_a_status_and_a_document() {
        for (body, said) in [("{\"message\":\"denied\"}", "denied"), ("no json", "no json")] {
            let text = format!("HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let (ended, _) = told(LONG, &|| false, &mut |_| {}, move |s| s.write_all(text.as_bytes()).unwrap());
            assert_eq!(ended, Ended::Whole(500, json!({"message": said})));
        }
    }

    #[test]
    fn silence_ends_it_and_so_does_a_request_to_stop() {
        for head in ["", HEAD] {
            let (done, wait) = mpsc::channel::<()>();
            let began = Instant::now();
            let (ended, _) = told(Duration::from_millis(700), &|| false, &mut |_| {}, move |stream| {
                stream.write_all(head.as_bytes()).unwrap();
                let _ = wait.recv_timeout(Duration::from_secs(1));
            });
            drop(done);
            assert_eq!(ended, Ended::Stalled);
            assert!(began.elapsed() >= Duration::from_millis(700));
        }
        let asked = AtomicBool::new(false);
        let stop = || asked.load(Ordering::SeqCst);
        let (ended, _) = told(LONG, &stop, &mut |_| asked.store(true, Ordering::SeqCst), |stream| {
            stream.write_all(HEAD.as_bytes()).unwrap();
            chunk(stream, "{}\n");
            std::thread::sleep(Duration::from_millis(500));
        });
        assert_eq!(ended, Ended::Stopped);
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_end() {
        let (ended, _) = told(LONG, &|| false, &mut |_| {}, |stream| {
            stream.write_all(HEAD.as_bytes()).unwrap();
            chunk(stream, "{}\n");
        });
        assert!(matches!(ended, Ended::Broken(_)), "{ended:?}");
        let post = Post { path: "/", secret: None, patience: LONG };
        let nobody = streamed(request(Path::new("/nonexistent/socket"), &post).unwrap(), LONG, &|| false, &mut |_| {});
        assert!(matches!(&nobody, Ended::Broken(why) if why.contains("No such file")), "{nobody:?}");
    }
}
