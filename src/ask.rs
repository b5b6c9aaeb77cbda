//! Questions to a person at a terminal. They are plain lines, so that every terminal and every width will do.

use console::{Term, measure_text_width};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::host::{Host, terminal::Typed};
use crate::report::{say, wrap};

/// What ends the run at any question; no name, address or password can be this.
pub const ABORT: &str = "q!";
/// What leads to the question before.
pub const BACK: &str = "<";
/// Columns for an answer behind a question.
const ROOM: usize = 10;

/// Asks for a line. Ctrl-C, Ctrl-D and [`ABORT`] are an error: nobody has agreed to anything.
pub fn line(host: &Host, prompt: &str) -> Result<String> {
    Ok(typed(host, prompt, false)?.trim().to_string())
}

/// The same for what nobody may read over a shoulder.
pub fn secret(host: &Host, prompt: &str) -> Result<Zeroizing<String>> {
    typed(host, prompt, true)
}

/// Whether the answer is yes. Anything else is a no.
pub fn yes(host: &Host, question: &str) -> Result<bool> {
    Ok(is(&line(host, &format!("{question} [y/N]"))?, "yes"))
}

/// Waits until somebody has read what stands there. Whoever went away meanwhile holds up nothing.
pub fn pause(host: &Host, prompt: &str) {
    host.forget_typed();
    let _ = host.read_line(prompt, false);
}

/// An answer is this word or its first letter, in either case.
pub fn is(answer: &str, word: &str) -> bool {
    answer.eq_ignore_ascii_case(word) || answer.eq_ignore_ascii_case(&word[..1])
}

/// Nobody has said yes.
pub fn stopped() -> Error {
    Error::new(Kind::Usage, "stopped: nothing was changed")
}

fn typed(host: &Host, prompt: &str, secret: bool) -> Result<Zeroizing<String>> {
    let mut prompt = prompt;
    // An editor's keys count on the question being on one line, with the answer.
    if measure_text_width(prompt) + ROOM > usize::from(Term::stdout().size().1) {
        say(&wrap(prompt.trim_end_matches(['>', ' ']), 0));
        prompt = "  >";
    }
    let typed = host.ask_line(prompt, secret).map_err(|e| {
        Error::new(Kind::Usage, "the answer cannot be read").cause(e).remedy("use --unattended or --yes")
    })?;
    match typed {
        Typed::Line(text) if *text != ABORT => Ok(text),
        Typed::Line(_) | Typed::End | Typed::Stopped => Err(stopped()),
    }
}
