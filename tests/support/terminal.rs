//! The program at a terminal: a real pseudo-terminal, and a screen that shows what a person would see. Every wait
//! has a time limit.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::{Root, program};

/// Nothing that is waited for takes this long.
const LIMIT: Duration = Duration::from_secs(20);
/// Lines of the screen: all of a session, so that nothing has scrolled away.
const ROWS: u16 = 600;
/// The terminal's flag that shows what is typed (ECHO of termios.h).
const ECHO: u32 = 0o10;

pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that came, and how much of it was waited for already.
    raw: String,
    seen: usize,
}

/// How a session ended.
pub struct Session {
    pub code: u32,
    /// What the terminal shows, without blanks at the ends of lines.
    pub screen: String,
    /// What was sent to it.
    pub raw: String,
}

impl Terminal {
    /// Starts the program on a prepared root, at a terminal of this width.
    pub fn start(root: &Root, args: &[&str], columns: u16, env: &[(&str, &str)]) -> Terminal {
        let size = PtySize { rows: 40, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(program());
        command.args(["--root".as_ref(), root.dir().as_os_str()]);
        command.args(args);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        for (name, value) in root.environment().chain(env.iter().copied()) {
            command.env(name, value);
        }
        command.cwd(root.dir());
        let child = pair.slave.spawn_command(command).expect("the program");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("the terminal");
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keyboard = pair.master.take_writer().expect("the terminal");
        let screen = vt100::Parser::new(ROWS, columns, 0);
        Terminal { master: pair.master, keyboard, child, bytes, screen, raw: String::new(), seen: 0 }
    }

    /// Waits until this has been said since what was waited for last.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> &mut Terminal {
        let began = Instant::now();
        loop {
            if let Some(at) = self.raw[self.seen..].find(text) {
                self.seen += at + text.len();
                return self;
            }
            if began.elapsed() > LIMIT || !self.take() {
                panic!("not said: {text:?}\n--- screen\n{}", self.screen());
            }
        }
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) -> &mut Terminal {
        self.keys(&format!("{line}\r"))
    }

    /// Types without ending the line.
    pub fn keys(&mut self, keys: &str) -> &mut Terminal {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).expect("a keyboard");
        self
    }

    /// Types a line once the terminal does not show it any more, as a person would who waits for the question.
    #[track_caller]
    pub fn enter_hidden(&mut self, line: &str) -> &mut Terminal {
        let began = Instant::now();
        while self.master.get_termios().is_some_and(|t| t.local_flags.bits() & ECHO != 0) {
            assert!(began.elapsed() < LIMIT, "the terminal shows what is typed\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.enter(line)
    }

    /// Waits for a question, and types the answer.
    #[track_caller]
    pub fn answer(&mut self, question: &str, line: &str) -> &mut Terminal {
        self.wait_for(question).enter(line)
    }

    /// The same for a question with a line of its own for the answer.
    #[track_caller]
    pub fn question(&mut self, title: &str, line: &str) -> &mut Terminal {
        self.wait_for(title).wait_for("> ").enter(line)
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn end(mut self) -> Session {
        let began = Instant::now();
        while self.take() {
            assert!(began.elapsed() < LIMIT, "it does not end\n--- screen\n{}", self.screen());
            if self.child.try_wait().expect("a child").is_some() {
                // What it has left behind in the background may hold the terminal open.
                while self.bytes.recv_timeout(Duration::from_millis(200)).is_ok_and(|b| self.show(&b)) {}
                break;
            }
        }
        let code = self.child.wait().expect("its end").exit_code();
        Session { code, screen: self.screen(), raw: self.raw.clone() }
    }

    fn screen(&self) -> String {
        let screen = self.screen.screen();
        let rows = screen.rows(0, screen.size().1);
        rows.map(|l| format!("{}\n", l.trim_end())).collect::<String>().trim_end().to_string() + "\n"
    }

    /// Takes what has come; false when nothing can come any more.
    fn take(&mut self) -> bool {
        match self.bytes.recv_timeout(Duration::from_millis(50)) {
            Ok(bytes) => self.show(&bytes),
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    fn show(&mut self, bytes: &[u8]) -> bool {
        self.screen.process(bytes);
        self.raw.push_str(&String::from_utf8_lossy(bytes));
        true
    }
}

impl Session {
    /// Fails the test, with all that was shown, unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: u32) -> Session {
        assert_eq!(self.code, code, "exit code\n--- screen\n{}", self.screen);
        self
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
