//! What a check is, what it sees, and what it says.

use serde::Serialize;

use super::look::More;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::owned::Rung;
use crate::plan::Plan;
use crate::receipt::Receipt;

/// How a check has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ok,
    /// The server works; somebody should look at it all the same.
    Warn,
    Fail,
    /// It says nothing here, or something that it depends on has failed.
    Skipped,
}

/// What a check has seen, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub state: State,
    pub evidence: String,
    pub cause: Option<String>,
    pub remedy: Option<String>,
}

/// One check and what it has found, as programs see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub name: &'static str,
    /// Nothing has failed here: for readers that know nothing of `state`.
    pub ok: bool,
    pub state: State,
    /// What was seen; of a check that was skipped, why.
    pub evidence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All that the pure checks see.
pub struct View<'a> {
    pub config: &'a Config,
    pub facts: &'a Facts,
    pub receipt: Option<&'a Receipt>,
    /// What it would take to have everything as it was left, or why that cannot be told.
    pub plan: &'a Result<Plan>,
    /// What was seen beyond the facts.
    pub more: &'a More,
    /// What should carry the tunnel.
    pub rung: Rung,
}

impl Found {
    pub fn good(evidence: impl Into<String>) -> Found {
        Found { state: State::Ok, evidence: evidence.into(), cause: None, remedy: None }
    }

    pub fn skipped(why: impl Into<String>) -> Found {
        Found { state: State::Skipped, ..Found::good(why) }
    }

    pub fn bad(error: Error) -> Found {
        Found { state: State::Fail, evidence: error.message, cause: error.cause, remedy: error.remedy }
    }

    pub fn warning(error: Error) -> Found {
        Found { state: State::Warn, ..Found::bad(error) }
    }

    pub fn of(seen: Result<String>) -> Found {
        seen.map_or_else(Found::bad, Found::good)
    }

    pub fn called(self, name: &'static str) -> Check {
        let Found { state, evidence, cause, remedy } = self;
        Check { name, ok: state != State::Fail, state, evidence, cause, remedy }
    }
}

impl View<'_> {
    /// The container gets IPv6.
    pub fn ipv6(&self) -> bool {
        self.config.network.ipv6 != crate::config::Ipv6::Off && self.facts.network.ipv6
    }

    /// The installation has ended, well or below what was hoped for.
    pub fn settled(&self) -> bool {
        self.receipt.is_some_and(|r| r.outcome == crate::receipt::Outcome::Done)
    }
}

/// A failure in three parts.
pub fn problem(message: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::step(message).cause(cause.into()).remedy(remedy)
}
