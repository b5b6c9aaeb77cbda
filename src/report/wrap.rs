//! Lines that end between two words, where people read them on a terminal.

use console::{Term, measure_text_width};

/// Longer lines are hard to read.
const WIDEST: usize = 100;

/// Breaks each line of `text` for the terminal; what goes on stands `hang` columns in, or as far as its line begins.
/// Elsewhere than on a terminal every line stays whole.
pub fn wrap(text: &str, hang: usize) -> String {
    let term = Term::stdout();
    let width = term.is_term().then(|| usize::from(term.size().1)).filter(|w| *w > 2 * hang + 10);
    match width {
        Some(width) => broken(text, hang, width.min(WIDEST)),
        None => text.to_string(),
    }
}

fn broken(text: &str, hang: usize, width: usize) -> String {
    text.split('\n').map(|line| one(line, hang, width)).collect::<Vec<_>>().join("\n")
}

fn one(line: &str, hang: usize, width: usize) -> String {
    if measure_text_width(line) < width {
        return line.to_string();
    }
    let indent = line.len() - line.trim_start().len();
    let hang = hang.max(indent);
    let mut out = String::new();
    let mut column = 0;
    for (index, word) in line.split(' ').enumerate() {
        let length = measure_text_width(word);
        let begins = column <= indent;
        if index > 0 && !begins && column + 1 + length >= width {
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            column = hang;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        assert_eq!(broken("Note:  one two three four", 7, 20), "Note:  one two\n       three four");
        assert_eq!(broken("  12. one two three", 6, 14), "  12. one two\n      three");
        assert_eq!(broken("short\n\nand short", 2, 20), "short\n\nand short");
        let long = "x".repeat(30);
        assert_eq!(broken(&format!("a {long} b"), 2, 20), format!("a\n  {long}\n  b"), "a word is never cut");
    }

    #[test]
    fn colours_take_no_room() {
        let dim = "\u{1b}[2mone two\u{1b}[0m";
        assert_eq!(broken(dim, 2, 9), dim);
        assert_eq!(broken(&format!("  {dim}"), 0, 8), "  \u{1b}[2mone\n  two\u{1b}[0m");
    }
}
