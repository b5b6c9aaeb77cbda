//! Errors say whose fault they are and what to do next; the kind fixes the exit code.

use std::fmt;

/// Whose fault an error is. The exit codes are part of the interface: see `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong (2).
    Usage,
    /// The configuration is wrong (3).
    Config,
    /// The host is not supported, or preflight failed; nothing was changed (4).
    Host,
    /// An artifact that was named explicitly failed verification; nothing was changed (5).
    Artifact,
    /// A step failed; the receipt says where, and running again resumes (6).
    Step,
    /// Another run holds the lock (9).
    Locked,
}

/// One clear error: what went wrong, why, and what to do about it.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub cause: Option<String>,
    pub remedy: Option<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), cause: None, remedy: None }
    }

    pub fn host(message: impl Into<String>) -> Self {
        Error::new(Kind::Host, message)
    }

    pub fn step(message: impl Into<String>) -> Self {
        Error::new(Kind::Step, message)
    }

    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The process exit code (design: "Exit codes").
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Config => 3,
            Kind::Host => 4,
            Kind::Artifact => 5,
            Kind::Step => 6,
            Kind::Locked => 9,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  cause:  {}", cause.replace('\n', "\n          "))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {}", remedy.replace('\n', "\n          "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
