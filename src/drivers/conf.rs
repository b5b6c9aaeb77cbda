//! `mkinitfs.conf`, which mkinitfs sources as shell: its `features`, read and added to.

use std::ops::Range;

/// The features that are on after the shell has run these assignments.
pub fn enabled_features(text: &str) -> Vec<String> {
    let mut value = String::new();
    for assignment in assignments(text) {
        value = assignment.value.replace("${features}", &value).replace("$features", &value);
    }
    value.split_whitespace().map(str::to_string).collect()
}

/// The same text with these features on: the last assignment to `features` has them added to its value, and
/// no other byte is changed. Without any assignment one is appended.
pub fn add_features(text: &str, add: &[String]) -> String {
    let enabled = enabled_features(text);
    let add: Vec<&str> = add.iter().filter(|name| !enabled.contains(name)).map(String::as_str).collect();
    if add.is_empty() {
        return text.to_string();
    }
    let add = add.join(" ");
    let Some(last) = assignments(text).pop() else {
        let line = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        // mkinitfs has no features of its own, and no initramfs works without this one.
        return format!("{text}{line}features=\"base {add}\"\n");
    };
    let (before, rest) = text.split_at(last.word.start);
    let (word, after) = rest.split_at(last.word.len());
    let quote = word.chars().next_back().filter(|c| matches!(c, '"' | '\'') && last.closed);
    let space = if last.value.is_empty() || last.value.ends_with(char::is_whitespace) { "" } else { " " };
    match quote {
        Some(quote) => format!("{before}{}{space}{add}{quote}{after}", &word[..word.len() - 1]),
        None if word.contains(['"', '\'', '\\']) => format!("{before}{word}\"{space}{add}\"{after}"),
        None => format!("{before}\"{word}{space}{add}\"{after}"),
    }
}

struct Assignment {
    /// What stands behind the `=`, with its quotes.
    word: Range<usize>,
    value: String,
    /// The last character is a closing quote.
    closed: bool,
}

/// Words after which another command, and so an assignment, can begin.
const LEADS: &[&str] = &["then", "do", "else", "{", "(", "!", "export", "readonly"];

/// All assignments to `features`, in order. Conditions are not decided: what counts in the end is what the
/// rebuilt initramfs holds.
fn assignments(text: &str) -> Vec<Assignment> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut command) = (0, true);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' | b';' | b'&' | b'|' | b'(' | b')' => (at, command) = (at + 1, true),
            b' ' | b'\t' | b'\r' => at += 1,
            b'\\' if bytes.get(at + 1) == Some(&b'\n') => at += 2,
            b'#' => at = text[at..].find('\n').map_or(bytes.len(), |end| at + end),
            _ => {
                let word = word(text, at);
                let name = "features=";
                if command && text[at..word.end].starts_with(name) {
                    let value = word.value[name.len()..].to_string();
                    found.push(Assignment { word: at + name.len()..word.end, value, closed: word.closed });
                }
                // Assignments may stand before a command, or beside each other.
                let assigns = word.value.split_once('=').is_some_and(|(name, _)| is_name(name));
                command = command && (assigns || LEADS.contains(&word.value.as_str()));
                at = word.end;
            }
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

struct Word {
    end: usize,
    /// Without quotes; nothing is expanded.
    value: String,
    closed: bool,
}

/// The shell word that begins at `start`. A quote that is never closed ends with the text.
fn word(text: &str, start: usize) -> Word {
    let mut word = Word { end: text.len(), value: String::new(), closed: false };
    let mut quote = None;
    let mut chars = text[start..].char_indices();
    while let Some((offset, c)) = chars.next() {
        let was_open = quote;
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None | Some('"'), '\\') => match chars.next() {
                Some((_, '\n')) | None => {}
                Some((_, next)) => word.value.push(next),
            },
            (None, c) if " \t\r\n;&|()".contains(c) => {
                word.end = start + offset;
                return word;
            }
            _ => word.value.push(c),
        }
        word.closed = was_open.is_some() && quote.is_none();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str, add: &[&str]) -> String {
        let add: Vec<String> = add.iter().map(|a| a.to_string()).collect();
        let changed = add_features(text, &add);
        let enabled = enabled_features(&changed);
        assert!(add.iter().all(|name| enabled.contains(name)), "{changed}");
        // What was on stays on, and a second time there is nothing to do.
        assert!(enabled_features(text).iter().all(|name| enabled.contains(name)), "{changed}");
        assert_eq!(add_features(&changed, &add), changed);
        changed
    }

    #[test]
    fn as_alpine_writes_it() {
        let cloud = "features=\"base ext4 kms scsi virtio\"\n";
        assert_eq!(added(cloud, &["nvme"]), "features=\"base ext4 kms scsi virtio nvme\"\n");
        assert_eq!(added(cloud, &["virtio"]), cloud);
        assert_eq!(added(cloud, &["ata", "scsi", "nvme"]), "features=\"base ext4 kms scsi virtio ata nvme\"\n");
        assert_eq!(enabled_features(cloud), ["base", "ext4", "kms", "scsi", "virtio"]);
    }

    #[test]
    fn as_people_write_it() {
        let cases = [
            ("features='base ext4'", "features='base ext4 nvme'"),
            ("features=base\n", "features=\"base nvme\"\n"),
            ("features=\"\"\n", "features=\"nvme\"\n"),
            ("features=\n", "features=\"nvme\"\n"),
            ("features=\"base \" # note: features=\"x\"\n", "features=\"base nvme\" # note: features=\"x\"\n"),
            ("# features=\"a\"\nfeatures=\"base\"", "# features=\"a\"\nfeatures=\"base nvme\""),
            ("features=\"a\"\nfeatures=\"b\"\ninitfscomp=xz\n", "features=\"a\"\nfeatures=\"b nvme\"\ninitfscomp=xz\n"),
            ("features=\"a\"; features=\"$features b\"", "features=\"a\"; features=\"$features b nvme\""),
            ("features=\"base\n\text4\n\"\n", "features=\"base\n\text4\nnvme\"\n"),
            ("features=\"base \\\n ext4\"\r\n", "features=\"base \\\n ext4 nvme\"\r\n"),
            ("features=base' ext4'\n", "features=base' ext4 nvme'\n"),
            ("features=base\\ ext4\n", "features=base\\ ext4\" nvme\"\n"),
            ("export features=\"base\"\n", "export features=\"base nvme\"\n"),
            ("if true; then features=\"base\"; fi\n", "if true; then features=\"base nvme\"; fi\n"),
            (
                "echo features=\"base\"\nmyfeatures=\"x\"\n",
                "echo features=\"base\"\nmyfeatures=\"x\"\nfeatures=\"base nvme\"\n",
            ),
            ("x=1 features=\"ä b\" y=2", "x=1 features=\"ä b nvme\" y=2"),
            ("", "features=\"base nvme\"\n"),
            ("disable_trigger=yes", "disable_trigger=yes\nfeatures=\"base nvme\"\n"),
        ];
        for (before, after) in cases {
            assert_eq!(added(before, &["nvme"]), after);
        }
    }

    #[test]
    fn any_text_is_borne() {
        for text in ["features=\"open", "features='a\\", "\\", "'", "features", "a=\"b\" features=é\\", "((;;#"] {
            let _ = (enabled_features(text), add_features(text, &["nvme".into()]));
        }
        assert_eq!(enabled_features("features=\"a\"\nfeatures=\"${features} b\""), ["a", "b"]);
    }
}
