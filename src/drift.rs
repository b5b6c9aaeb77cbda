//! How a text differs from what is wanted, for people to see. No value of a secret is in it.

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::config::REDACTED;

/// A file that is there and is not as wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    pub path: String,
    /// Somebody has changed it since this program wrote it last.
    pub edited: bool,
    /// Unified, from what is there to what is wanted.
    pub text: String,
}

/// Words in a key whose value is shown to nobody.
const SECRETS: &[&str] = &["PASSWORD", "TOKEN", "SECRET"];

/// The difference as a unified diff. Both texts are redacted first.
pub fn diff(path: &str, edited: bool, present: &str, wanted: &str) -> Diff {
    let (present, wanted) = (redacted(present), redacted(wanted));
    let lines = TextDiff::from_lines(&present, &wanted);
    let text = lines.unified_diff().header(&format!("{path} (present)"), &format!("{path} (wanted)")).to_string();
    let text = if text.is_empty() { "only a value that is not shown differs".to_string() } else { text };
    Diff { path: path.into(), edited, text: text.trim_end().to_string() }
}

/// A text in which every value of a key that names a secret is replaced, in the notations of environment files
/// and YAML: `KEY=value`, `key: value`, `- KEY=value`, and the deeper lines that a YAML value may go on in.
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hidden_below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let depth = line.len() - line.trim_start_matches([' ', '-']).len();
        if hidden_below.is_some_and(|hidden| depth > hidden && !line.trim().is_empty()) {
            continue;
        }
        hidden_below = None;
        match value_of_a_secret(line) {
            Some(at) => {
                hidden_below = Some(depth);
                out.push_str(&line[..at]);
                out.push_str(REDACTED);
                out.push_str(if line.ends_with('\n') { "\n" } else { "" });
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Where the value of the line's first key with one of those words begins: all that follows is hidden.
fn value_of_a_secret(line: &str) -> Option<usize> {
    let upper = line.to_ascii_uppercase();
    let word = SECRETS.iter().filter_map(|word| upper.find(word)).min()?;
    let separator = word + line[word..].find(['=', ':'])?;
    let value = separator + 1;
    let rest = &line[value..];
    let value = value + (rest.len() - rest.trim_start_matches(' ').len());
    // A word in a comment, or a key without a value of its own.
    (!line[value..].trim().is_empty() || line[separator..].starts_with(':')).then_some(value.min(line.trim_end().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unified_diff_names_both_sides() {
        let seen = diff("/x", true, "a\nb\nc\n", "a\nB\nc\n");
        assert_eq!(seen.text, "--- /x (present)\n+++ /x (wanted)\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c");
    }

    #[test]
    fn no_value_of_a_secret_is_shown() {
        for text in [
            "INIT_PASSWORD='hunter2 # x'\nPORT='1'\n",
            "environment:\n  - INIT_PASSWORD=hunter2\n  - PORT=1\n",
            "environment: {A: b, init_password: hunter2, PORT: 1}\n",
            "my_api_token: |\n    hunter2\n    hunter2\nPORT: 1\n",
            "client_secret:\n  - hunter2\n",
            "# was PASSWORD=hunter2\n",
            "PASSWORD=\"hunter2\"",
        ] {
            let shown = redacted(text);
            assert!(!shown.contains("hunter2") && shown.contains(REDACTED), "{text:?} -> {shown:?}");
        }
        assert_eq!(redacted("A: b\nPORT='51820'\n"), "A: b\nPORT='51820'\n");
        let only = diff("/x", true, "PASSWORD=a\n", "PASSWORD=b\n");
        assert_eq!(only.text, "only a value that is not shown differs");
    }
}
