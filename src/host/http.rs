//! What this program asks over HTTP of the host itself: the container engine's socket, a container's page.

mod stream;

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::{Client, ClientBuilder};
use serde_json::{Value, json};

use super::{Host, Limits};
pub use stream::{Ended, Post};

/// Where the engine listens, whatever the environment says.
pub const ENGINE_SOCKET: &str = "/var/run/docker.sock";
/// A loaded host answers late, and late is not absent.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);
pub(super) const PAGE_PATIENCE: Duration = Duration::from_secs(5);

/// What the engine said to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Nothing listens on the socket.
    Absent,
    /// Something listens and did not answer, or not in time: in words.
    Silent(String),
    Answer(u16, Value),
}

impl Reply {
    /// The document of a successful answer.
    pub fn found(self) -> Option<Value> {
        match self {
            Reply::Answer(200..=299, value) => Some(value),
            _ => None,
        }
    }
}

impl Host {
    /// A GET to the engine's own interface, such as `/version`: no program has to start for it.
    pub fn engine_get(&self, path: &str) -> Reply {
        self.engine("engine-get", path)
    }

    /// A POST without a body, such as `/containers/NAME/pause`.
    pub fn engine_do(&self, path: &str) -> Reply {
        self.engine("engine-post", path)
    }

    fn engine(&self, verb: &str, path: &str) -> Reply {
        let began = Instant::now();
        let reply = if self.plays_engine() { self.played_engine(verb, path) } else { self.asked_engine(verb, path) };
        let status = match &reply {
            Reply::Answer(status, _) => json!(status),
            Reply::Absent => json!("absent"),
            Reply::Silent(_) => json!("silent"),
        };
        self.log.event(json!({"type": "engine", "path": path, "status": status,
            "ms": began.elapsed().as_millis() as u64}));
        reply
    }

    /// A fake root's engine is a stand-in program, unless somebody listens where the engine would.
    fn plays_engine(&self) -> bool {
        let listens = |m: std::fs::Metadata| std::os::unix::fs::FileTypeExt::is_socket(&m.file_type());
        self.is_fake() && !self.path(ENGINE_SOCKET).metadata().is_ok_and(listens)
    }

    fn asked_engine(&self, verb: &str, path: &str) -> Reply {
        if !self.exists(ENGINE_SOCKET) {
            return Reply::Absent;
        }
        let client = self.engine.get_or_init(|| {
            client().unix_socket(self.path(ENGINE_SOCKET)).timeout(ENGINE_PATIENCE).build().map_err(|e| e.to_string())
        });
        let client = match client {
            Ok(client) => client,
            Err(why) => return Reply::Silent(why.clone()),
        };
        let method = if verb == "engine-post" { Method::POST } else { Method::GET };
        let ask = || -> reqwest::Result<(u16, Value)> {
            let response = client.request(method, format!("http://docker{path}")).send()?;
            Ok((response.status().as_u16(), serde_json::from_slice(&response.bytes()?).unwrap_or(Value::Null)))
        };
        match ask() {
            Ok((status, value)) => Reply::Answer(status, value),
            Err(e) if e.is_connect() => Reply::Absent,
            Err(e) => Reply::Silent(e.to_string()),
        }
    }

    /// The stand-in prints the status on a line of its own, then the document.
    fn played_engine(&self, verb: &str, path: &str) -> Reply {
        let out = self.ask(self.shell().cmd(verb).arg(path), Limits::seconds(20));
        let (status, body) = out.stdout.split_once('\n').unwrap_or_default();
        match status.parse() {
            Ok(status) if out.ok() => Reply::Answer(status, serde_json::from_str(body).unwrap_or(Value::Null)),
            _ => Reply::Absent,
        }
    }

    /// Status of a plain GET without redirects; `None` when nothing answers within five seconds.
    pub fn http_status(&self, url: &str) -> Option<u16> {
        if self.is_fake() {
            let out = self.ask(self.shell().cmd("http-status").arg(url), Limits::seconds(10));
            return out.stdout.trim().parse().ok();
        }
        let client = client().timeout(PAGE_PATIENCE).build().ok()?;
        client.get(url).send().ok().map(|r| r.status().as_u16())
    }
}

/// Neither a proxy nor a redirect may lead away from the host.
pub(super) fn client() -> ClientBuilder {
    Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy()
}

/// reqwest hides the reason in the chain of sources.
pub fn text(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    said
}
