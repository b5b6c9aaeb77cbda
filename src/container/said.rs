//! What the container has said: read from the engine, bounded, without secrets, and held against known failures.

use xshell::cmd;

use super::known::{self, Known};
use crate::config::Config;
use crate::host::{Host, Limits};

/// Lines of the container that are read.
const READ: usize = 100;
/// Longer ones are cut.
const LINE: usize = 300;

/// What a container has said last, without secrets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    pub lines: Vec<String>,
    /// Why there are not more of them.
    pub unread: Option<String>,
}

impl Said {
    /// The known failures that its lines tell of: likely causes, and what to do about each.
    pub fn known(&self) -> Option<(String, String)> {
        let known = known::likely(&self.lines.join("\n"));
        (!known.is_empty()).then(|| (causes(&known), remedies(&known)))
    }
}

/// The last lines of the configured container.
pub fn said(host: &Host, config: &Config) -> Said {
    let (lines, unread) = lines(host, config, &config.container.name);
    Said { lines, unread }
}

pub(super) fn causes(known: &[&Known]) -> String {
    known.iter().map(|k| format!("likely: {}", k.cause)).collect::<Vec<String>>().join("\n")
}

pub(super) fn remedies(known: &[&Known]) -> String {
    known.iter().map(|k| k.remedy).collect::<Vec<&str>>().join("\n")
}

/// What the container has said last, both streams in their order, without secrets; or why that cannot be read.
fn lines(host: &Host, config: &Config, name: &str) -> (Vec<String>, Option<String>) {
    let (sh, count) = (host.shell(), READ.to_string());
    let logs = host.ask(cmd!(sh, "docker logs --timestamps --tail {count} {name}"), Limits::seconds(60));
    let secret = config.server.password.as_ref().map(|p| p.expose());
    if !logs.ok() {
        let why =
            if logs.timed_out { "the engine does not answer in time".into() } else { shown(&logs.tail(1), secret) };
        return (Vec::new(), Some(why));
    }
    (merged(&logs.stdout, &logs.stderr, secret), None)
}

fn merged(out: &str, err: &str, secret: Option<&str>) -> Vec<String> {
    let mut lines: Vec<(&str, &str)> = out.lines().chain(err.lines()).map(stamped).collect();
    lines.sort_by_key(|(stamp, _)| *stamp);
    let lines = lines.into_iter().map(|(_, text)| shown(text, secret)).filter(|l| !l.trim().is_empty());
    lines.collect()
}

/// The engine's time stamp, and the line.
fn stamped(line: &str) -> (&str, &str) {
    match line.split_once(' ') {
        Some((stamp, rest)) if stamp.starts_with("20") && stamp.ends_with('Z') && stamp.contains('T') => (stamp, rest),
        _ => ("", line),
    }
}

/// A text as it may be shown: bounded, printable, and not at all where it holds the password.
pub(super) fn shown(text: &str, secret: Option<&str>) -> String {
    if secret.is_some_and(|s| !s.is_empty() && text.contains(s)) {
        return "(a line with the password is left out)".into();
    }
    let clean: String = text.trim_end().chars().filter(|c| !c.is_control() || *c == '\t').take(LINE + 1).collect();
    match clean.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_in_their_order() {
        let out = "2026-01-01T00:00:01.000000000Z $ awg-quick up wg0\n2026-01-01T00:00:03.000000000Z \x1b[31mend\n";
        let err = "2026-01-01T00:00:02.000000000Z Error: Unknown device type.\n";
        assert_eq!(merged(out, err, None), ["$ awg-quick up wg0", "Error: Unknown device type.", "[31mend"]);
        assert_eq!(merged("a\nb\n", "c\n", None), ["a", "b", "c"]);
    }

    #[test]
    fn a_line_with_the_password_is_not_shown() {
        let lines = merged("INIT_PASSWORD=correct horse battery\nother\n", "", Some("correct horse battery"));
        assert_eq!(lines, ["(a line with the password is left out)", "other"]);
        assert!(shown(&"x".repeat(5000), None).chars().count() <= LINE + 1);
    }
}
