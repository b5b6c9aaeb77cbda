//! Downloads: bounded in size and time, resumed and retried where that can help, verified while they stream.
//! Nothing comes over plain http unless a checksum vouches for it.

mod client;

use std::io::Read;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER};

mod known;

use crate::config::{self, ModuleSource, Url};
use crate::error::{Error, Kind, Result};
use crate::host::{Host, files::sha256, http::text, partial::Partial};
use crate::module::LARGEST_FILE;
pub use client::proxy;
pub use known::Version;
use known::{Answer, Asked};

/// Attempts at errors that can pass.
const ATTEMPTS: u32 = 4;
/// Longest that a server may ask to be left alone.
const RETRY_AFTER_LIMIT: u64 = 60;

/// Files under their checksum, whoever asked for them.
const OBJECTS: &str = "/var/lib/awg-install/cache/objects";

/// What is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub url: &'a Url,
    /// Lowercase hexadecimal; where there is one, plain http will do and a broken transfer is gone on with.
    pub sha256: Option<&'a str>,
    /// Most bytes that are taken.
    pub limit: u64,
}

/// How slow is too slow.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Silence after which a connection counts as broken.
    pub stall: Duration,
    /// Over this long at least `floor` bytes must come.
    pub window: Duration,
    pub floor: u64,
    /// Wait before the second attempt; doubled before each further one.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let seconds = Duration::from_secs;
        Pace { stall: seconds(30), window: seconds(30), floor: 30 << 10, pause: Duration::from_millis(500) }
    }
}

/// What came of a look at a file that may be known already.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    Whole(Vec<u8>, Version),
    /// The version that is known is the newest.
    Unchanged,
    /// The server has no such file.
    Absent,
}

/// Told of every chunk: bytes so far, and bytes in all where the server says.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Fetches into memory.
pub fn to_memory(host: &Host, wanted: &Wanted, pace: Pace, progress: Progress) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Download { host, wanted, pace, progress, asked: None }.run(&mut bytes)?;
    Ok(bytes)
}

/// Fetches into memory what is newer than `known`.
pub fn look(host: &Host, wanted: &Wanted, pace: Pace, known: &Version) -> Result<Look> {
    let mut bytes = Vec::new();
    let asked = Some(Asked { known, answer: Answer::Whole(Version::default()) });
    let mut download = Download { host, wanted, pace, progress: &mut |_, _| {}, asked };
    download.run(&mut bytes)?;
    Ok(match download.asked.map(|a| a.answer) {
        Some(Answer::Unchanged) => Look::Unchanged,
        Some(Answer::Absent) => Look::Absent,
        Some(Answer::Whole(version)) => Look::Whole(bytes, version),
        None => Look::Whole(bytes, Version::default()),
    })
}

/// What a reference in a file at `base` means, as browsers read it; `None` where that is no http or https URL.
pub fn resolve(base: &Url, reference: &str) -> Option<Url> {
    reqwest::Url::parse(base).ok()?.join(reference).ok()?.as_str().parse().ok()
}

/// Fetches into a file, which appears only when it is whole and verified. With a checksum, what an earlier
/// run left beside it is gone on with.
pub fn to_file(host: &Host, wanted: &Wanted, pace: Pace, path: &str, mode: u32, progress: Progress) -> Result<()> {
    let mut partial = host.partial(path)?;
    if wanted.sha256.is_none() {
        partial.restart()?;
    }
    Download { host, wanted, pace, progress, asked: None }.run(&mut partial)?;
    partial.commit(mode)
}

/// The path of a file that is kept under its checksum and `ending`; nothing where it is not there whole.
pub fn kept(host: &Host, sha256: &str, ending: &str) -> Option<String> {
    let path = format!("{OBJECTS}/{sha256}{ending}");
    (host.sha256_of(&path).as_deref() == Some(sha256)).then_some(path)
}

/// The same, fetched where it is not there. It must have a checksum.
pub fn object(host: &Host, wanted: &Wanted, pace: Pace, ending: &str, progress: Progress) -> Result<String> {
    let Some(sha256) = wanted.sha256 else {
        return Err(Error::new(Kind::Config, format!("{}: no checksum vouches for what comes", wanted.url))
            .remedy("give the SHA-256"));
    };
    if let Some(path) = kept(host, sha256, ending) {
        return Ok(path);
    }
    host.make_dirs(OBJECTS, 0o700)?;
    let path = format!("{OBJECTS}/{sha256}{ending}");
    to_file(host, wanted, pace, &path, 0o600, progress)?;
    Ok(path)
}

/// The module's file that the configuration names by path or address, and what it is called; nothing where it
/// names none.
pub fn named_module(host: &Host, module: &config::Module) -> Result<Option<(String, Vec<u8>)>> {
    match (module.source, &module.path, &module.url) {
        (ModuleSource::File, Some(path), _) => {
            let bytes = host.read_named(Kind::Config, "module.path", path, LARGEST_FILE)?;
            Ok(Some((path.to_string(), bytes)))
        }
        (ModuleSource::Url, _, Some(url)) => {
            let wanted = Wanted { url, sha256: module.sha256.as_deref(), limit: LARGEST_FILE };
            let bytes = to_memory(host, &wanted, Pace::default(), &mut *host.progress("fetching the module"))?;
            Ok(Some((url.to_string(), bytes)))
        }
        _ => Ok(None),
    }
}

/// Where bytes go.
trait Sink {
    fn length(&self) -> u64;
    fn sha256(&mut self) -> String;
    fn add(&mut self, bytes: &[u8]) -> Result<()>;
    fn restart(&mut self) -> Result<()>;
}

impl Sink for Vec<u8> {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn sha256(&mut self) -> String {
        sha256(self)
    }
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
    fn restart(&mut self) -> Result<()> {
        self.clear();
        Ok(())
    }
}

impl Sink for Partial {
    fn length(&self) -> u64 {
        self.length()
    }
    fn sha256(&mut self) -> String {
        self.sha256()
    }
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.add(bytes)
    }
    fn restart(&mut self) -> Result<()> {
        self.restart()
    }
}

enum Failure {
    /// May go better another time, after at least this long.
    Passing(String, Duration),
    Final(String),
    /// Ours, not the server's: already in words.
    Own(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Own(error)
    }
}

type Attempt<T> = std::result::Result<T, Failure>;

fn passing<T>(why: impl Into<String>) -> Attempt<T> {
    Err(Failure::Passing(why.into(), Duration::ZERO))
}

struct Download<'a> {
    host: &'a Host,
    wanted: &'a Wanted<'a>,
    pace: Pace,
    progress: Progress<'a>,
    /// Where an older version is known, or none at all will do.
    asked: Option<Asked<'a>>,
}

impl Download<'_> {
    fn run(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let url = self.wanted.url;
        if !(url.is_https() || url.is_loopback() || self.wanted.sha256.is_some()) {
            return Err(Error::new(Kind::Config, format!("{url}: plain http, and no checksum vouches for what comes"))
                .remedy("use https, or give the SHA-256"));
        }
        let client = client::client(self.host, self.pace.stall, self.wanted.sha256.is_some())?;
        let mut pause = self.pace.pause;
        for attempt in 1..=ATTEMPTS {
            self.host.go_on()?;
            let went_on = sink.length() > 0;
            match self.attempt(&client, sink) {
                Ok(()) if self.is_wanted(sink) => return Ok(()),
                // Two halves of different files are no reason to give up.
                Ok(()) if went_on && attempt < ATTEMPTS => sink.restart()?,
                Ok(()) => return Err(self.not_wanted(sink)),
                Err(Failure::Own(error)) => return Err(error),
                Err(Failure::Passing(_, least)) if attempt < ATTEMPTS => {
                    if self.wanted.sha256.is_none() {
                        sink.restart()?;
                    }
                    std::thread::sleep(pause.max(least));
                    pause *= 2;
                }
                Err(Failure::Passing(why, _) | Failure::Final(why)) => {
                    return Err(Error::new(Kind::Host, format!("{url} cannot be fetched"))
                        .cause(format!("{why} (attempt {attempt})"))
                        .remedy("check the address and the network; HTTPS_PROXY and SSL_CERT_FILE are honoured"));
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&mut self, client: &Client, sink: &mut dyn Sink) -> Attempt<()> {
        let start = sink.length();
        let mut request = client.get(self.wanted.url.to_string());
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        for (name, value) in self.asked.iter().flat_map(|a| a.known.conditions()) {
            request = request.header(name, value);
        }
        let response = match request.send() {
            Ok(response) => response,
            Err(e) if e.is_redirect() || e.is_builder() => return Err(Failure::Final(text(&e.without_url()))),
            Err(e) => return passing(text(&e.without_url())),
        };
        if start > 0 && response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // All of it may be here already; else the other file has to go.
            if self.is_wanted(sink) {
                return Ok(());
            }
            sink.restart()?;
            return passing("what was there before does not belong to it");
        }
        if self.asked.as_mut().is_some_and(|a| a.is_answered(&response)) {
            return Ok(());
        }
        accept(&response)?;
        if !goes_on(&response, start) {
            sink.restart()?;
        }
        self.receive(response, sink)
    }

    fn receive(&mut self, mut response: Response, sink: &mut dyn Sink) -> Attempt<()> {
        let limit = self.wanted.limit;
        let too_large = |n| Err(Failure::Final(format!("it is larger than the {limit} bytes that are taken ({n})")));
        let total = response.content_length().map(|n| n + sink.length());
        if let Some(total) = total.filter(|t| *t > limit) {
            return too_large(format!("{total} are announced"));
        }
        let of = total.map(|t| format!(" of {t}")).unwrap_or_default();
        let mut chunk = vec![0; 64 << 10];
        let (mut since, mut seen) = (Instant::now(), 0);
        loop {
            self.host.go_on()?;
            let read = match response.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) => return passing(format!("the transfer broke after {}{of} bytes: {e}", sink.length())),
            };
            if sink.length() + read as u64 > limit {
                return too_large("more keeps coming".into());
            }
            sink.add(&chunk[..read])?;
            (self.progress)(sink.length(), total);
            seen += read as u64;
            if since.elapsed() >= self.pace.window {
                if seen < self.pace.floor {
                    let rate = seen as f64 / since.elapsed().as_secs_f64();
                    return Err(Failure::Final(format!(
                        "it comes too slowly: {rate:.0} bytes a second after {}{of} bytes",
                        sink.length()
                    )));
                }
                (since, seen) = (Instant::now(), 0);
            }
        }
        match total {
            Some(total) if sink.length() < total => {
                passing(format!("the transfer broke after {} of {total} bytes", sink.length()))
            }
            _ => Ok(()),
        }
    }

    fn is_wanted(&self, sink: &mut dyn Sink) -> bool {
        self.wanted.sha256.is_none_or(|wanted| sink.sha256() == wanted)
    }

    fn not_wanted(&self, sink: &mut dyn Sink) -> Error {
        let (got, length) = (sink.sha256(), sink.length());
        // It would be gone on with for ever.
        let _ = sink.restart();
        Error::new(Kind::Artifact, format!("{} is not the file that was asked for", self.wanted.url))
            .cause(format!("its SHA-256 is {got} ({length} bytes), wanted {}", self.wanted.sha256.unwrap_or_default()))
            .remedy("check the checksum that was given, or who answers at that address")
    }
}

/// Whether an answer can be what was asked for.
fn accept(response: &Response) -> Attempt<()> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT {
        let least = header(RETRY_AFTER).and_then(|v| v.parse().ok()).unwrap_or(0u64).min(RETRY_AFTER_LIMIT);
        return Err(Failure::Passing(format!("the server answered {status}"), Duration::from_secs(least)));
    }
    if !status.is_success() {
        return Err(Failure::Final(format!("the server answered {status}")));
    }
    if header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(Failure::Final(
            "a web page came instead of the file: a login or an error page of the network or the server".into(),
        ));
    }
    Ok(())
}

/// The server goes on where we are, and not anywhere else.
fn goes_on(response: &Response, start: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {start}-"))
}
