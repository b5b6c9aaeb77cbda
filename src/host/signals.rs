//! Signals: SIGINT and SIGTERM stop a run between two steps, SIGHUP never does.
//!
//! An SSH session that is lost sends SIGHUP and takes the terminal away; the run goes on without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::Host;
use crate::error::{Error, Kind, Result};

/// How often a run was asked to stop, and by what last.
#[derive(Debug, Default)]
pub struct Stop {
    times: AtomicUsize,
    /// Set within the handler: what the terminal has sent by now can be seen now.
    signal: Arc<AtomicUsize>,
    /// A question is being asked, and says itself that it was stopped.
    asking: AtomicBool,
    /// Nobody can answer once the terminal is gone.
    needs_terminal: AtomicBool,
}

/// A question is being asked until this is dropped.
pub struct Asking<'a>(&'a Stop);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.store(false, Ordering::SeqCst);
        self.0.needs_terminal.store(false, Ordering::SeqCst);
    }
}

impl Stop {
    /// Counts from now on. The first request lets the present command end; the second ends it as well.
    pub fn listen() -> Result<Arc<Stop>> {
        let stop = Arc::new(Stop::default());
        let shared = Arc::clone(&stop);
        let uncaught = |e| Error::step("signals cannot be caught").cause(e);
        for signal in [SIGINT, SIGTERM] {
            flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize).map_err(uncaught)?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(uncaught)?;
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // A terminal that was hung up is at its end over and over: whoever reads keys would do so for ever.
                    if shared.needs_terminal.load(Ordering::SeqCst) {
                        std::process::exit(i32::from(Error::new(Kind::Usage, "").exit_code()));
                    }
                    continue;
                }
                if shared.times.fetch_add(1, Ordering::SeqCst) == 0 && !shared.asking.load(Ordering::SeqCst) {
                    let text = "stops after what it is doing now; once more ends that as well\n";
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
                }
            }
        });
        Ok(stop)
    }

    /// With `needs_terminal`, a terminal that is hung up meanwhile ends the run.
    pub fn asking(&self, needs_terminal: bool) -> Asking<'_> {
        self.asking.store(true, Ordering::SeqCst);
        self.needs_terminal.store(needs_terminal, Ordering::SeqCst);
        Asking(self)
    }
}

impl Host {
    /// The signal that asked this run to stop, if one has.
    pub fn stop_requested(&self) -> Option<&'static str> {
        if self.is_given_up() {
            return Some("another step's failure");
        }
        let stop = self.stop.as_ref()?;
        match stop.signal.load(Ordering::SeqCst) as i32 {
            SIGINT => Some("SIGINT"),
            SIGTERM => Some("SIGTERM"),
            _ => None,
        }
    }

    /// Asked twice: the command that runs is to end too.
    pub fn stop_at_once(&self) -> bool {
        self.is_given_up() || self.stop.as_ref().is_some_and(|s| s.times.load(Ordering::SeqCst) > 1)
    }

    /// An error where a run was asked to stop: what is done is recorded, and running again goes on.
    pub fn go_on(&self) -> Result<()> {
        match self.stop_requested() {
            None => Ok(()),
            Some(signal) => Err(Error::step(format!("stopped by {signal}"))
                .cause("what was done so far is recorded")
                .remedy("run the same command again to go on, or `awg-install rollback` to undo it")),
        }
    }
}
