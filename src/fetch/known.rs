//! Files that are known already: only what is newer is sent (RFC 9110, section 13).

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

/// Longest name of a version that is remembered.
const LONGEST: usize = 256;

/// What a server calls the version of a file that it has sent; said again, it need not send it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub etag: Option<String>,
    /// `Last-Modified`, as the server wrote it.
    pub modified: Option<String>,
}

/// A question that has an answer without a body.
pub(super) struct Asked<'a> {
    pub known: &'a Version,
    pub answer: Answer,
}

pub(super) enum Answer {
    Whole(Version),
    Unchanged,
    Absent,
}

impl Version {
    /// The headers that ask for something newer.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (HeaderName, &String)> {
        let etag = self.etag.as_ref().map(|v| (IF_NONE_MATCH, v));
        etag.into_iter().chain(self.modified.as_ref().map(|v| (IF_MODIFIED_SINCE, v)))
    }

    fn of(response: &Response) -> Version {
        let said = |name| {
            let value = response.headers().get(name)?.to_str().ok()?;
            (value.len() <= LONGEST).then(|| value.to_string())
        };
        Version { etag: said(ETAG), modified: said(LAST_MODIFIED) }
    }
}

impl Asked<'_> {
    /// Whether the answer is one without a body.
    pub fn is_answered(&mut self, response: &Response) -> bool {
        self.answer = match response.status() {
            StatusCode::NOT_MODIFIED if self.known.conditions().next().is_some() => Answer::Unchanged,
            StatusCode::NOT_FOUND | StatusCode::GONE => Answer::Absent,
            _ => Answer::Whole(Version::of(response)),
        };
        !matches!(self.answer, Answer::Whole(_))
    }
}
