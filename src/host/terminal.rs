//! Lines that a person types: with an editor's keys where the terminal can show them, else in the terminal's own line
//! mode, which every kind of terminal has.

use std::fmt;
use std::io::{BufRead, Error, ErrorKind, IsTerminal};
use std::os::fd::AsFd;

use console::Term;
use dialoguer::Input;
use dialoguer::theme::Theme;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Host;

/// Milliseconds between two looks at whether the run is to stop.
const LOOK: u16 = 50;

/// What came of waiting for a line.
#[derive(Debug, PartialEq)]
pub enum Typed {
    /// Without its line end.
    Line(Zeroizing<String>),
    /// The terminal is gone, or Ctrl-D was typed.
    End,
    /// Ctrl-C, or another request to stop.
    Stopped,
}

/// Whether somebody can be asked: both directions are a terminal.
pub fn is_attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Prompts as they are given, answers behind them.
struct Plain;

impl Theme for Plain {
    fn format_input_prompt(&self, f: &mut dyn fmt::Write, prompt: &str, _: Option<&str>) -> fmt::Result {
        write!(f, "{prompt} ")
    }

    fn format_input_prompt_selection(&self, f: &mut dyn fmt::Write, prompt: &str, answer: &str) -> fmt::Result {
        write!(f, "{prompt} {answer}")
    }
}

impl Host {
    /// Asks with `prompt` on a line of its own, on which it must have room. With `secret` the answer is not shown.
    pub fn ask_line(&self, prompt: &str, secret: bool) -> std::io::Result<Typed> {
        let term = Term::stdout();
        // Dialoguer's hidden line throws away what is typed before it is ready, and nothing but its end stops it.
        if secret || self.env("TERM").is_none_or(|t| t == "dumb") {
            return self.read_line(prompt, secret);
        }
        let _asking = self.stop.as_ref().map(|s| s.asking(true));
        // Between two keys the terminal would be in its line mode, and show what is typed or pasted quickly.
        let _silence = Silence::begin(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)?;
        // Ctrl-C may have come between two questions; from here on it is a key.
        if self.stop_requested().is_some() {
            return Ok(Typed::Stopped);
        }
        match Input::with_theme(&Plain).with_prompt(prompt).allow_empty(true).interact_text_on(&term) {
            Ok(text) => Ok(Typed::Line(Zeroizing::new(text))),
            Err(dialoguer::Error::IO(error)) if error.kind() == ErrorKind::Interrupted => {
                let _ = term.write_line("");
                Ok(Typed::Stopped)
            }
            Err(dialoguer::Error::IO(error)) => Err(error),
        }
    }

    /// The same in the terminal's line mode.
    pub fn read_line(&self, prompt: &str, secret: bool) -> std::io::Result<Typed> {
        let _asking = self.stop.as_ref().map(|s| s.asking(false));
        // Before anybody sees that they are asked.
        let _silence = secret.then(|| Silence::begin(LocalFlags::ECHO)).transpose()?;
        let term = Term::stdout();
        let _ = term.write_str(&format!("{prompt} ")).and_then(|()| term.flush());
        let typed = self.line();
        if secret || !matches!(typed, Ok(Typed::Line(_))) {
            let _ = term.write_line("");
        }
        typed
    }

    /// Forgets what was typed so far: an Enter out of impatience is no answer to a question that comes later.
    pub fn forget_typed(&self) {
        let _ = tcflush(std::io::stdin(), FlushArg::TCIFLUSH);
    }

    fn line(&self) -> std::io::Result<Typed> {
        let input = std::io::stdin();
        loop {
            if self.stop_requested().is_some() {
                return Ok(Typed::Stopped);
            }
            // A terminal in line mode has something to read when a whole line is there.
            let mut wanted = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::from(LOOK)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut bytes = Zeroizing::new(Vec::new());
        // A terminal that was hung up answers with an error.
        if input.lock().read_until(b'\n', &mut bytes).unwrap_or(0) == 0 {
            return Ok(Typed::End);
        }
        // A password that is not what was typed would lock its owner out.
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text: set the terminal to UTF-8"))?;
        Ok(Typed::Line(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_string())))
    }
}

/// Nothing of what is typed is shown until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin(without: LocalFlags) -> nix::Result<Silence> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(without);
        tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}
