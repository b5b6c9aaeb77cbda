//! Images that are fetched while other steps go on: the network is busy with one, the processor and apk with the others.
//!
//! The receipt says "started" before the first byte and "done" only once the image was waited for, so that a power cut
//! anywhere between finds the same record as one during a pull that nothing goes on beside.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::apply::{Failed, Run, conclude};
use crate::config::ImageRef;
use crate::error::{Error, Result};
use crate::host::Progress;
use crate::pull;
use crate::receipt::{Receipt, State};
use crate::step::Step;

/// Between two looks at a pull that is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes so far, and bytes in all where that is known.
type At = Arc<Mutex<Option<(u64, Option<u64>)>>>;

/// Pulls that are under way: each is ended by `settle` or `give_up`.
#[derive(Default)]
pub struct Beside {
    pulls: Vec<Pull>,
}

struct Pull {
    step: Step,
    image: String,
    /// What the receipt said of the step before.
    before: Option<State>,
    began: Instant,
    at: At,
    give_up: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Beside {
    /// Starts one that is recorded as begun; `before` is what the receipt said of it until then.
    pub fn start(&mut self, run: &Run, step: &Step, image: &ImageRef, before: Option<State>) {
        let (at, give_up) = (At::default(), Arc::new(AtomicBool::new(false)));
        let mut host = run.host.beside(Arc::clone(&give_up));
        let shown = Arc::clone(&at);
        host.watch = Some(Box::new(move |_| {
            let shown = Arc::clone(&shown);
            Box::new(move |have, total| {
                if let Ok(mut at) = shown.lock() {
                    *at = Some((have, total));
                }
            }) as Progress
        }));
        let (config, arch, own) = (run.config.clone(), run.facts.arch.clone(), image.clone());
        let again = before == Some(State::Started);
        let thread = std::thread::spawn(move || pull::pull(&host, &config, &own, &arch, again));
        let (step, image) = (step.clone(), image.to_string());
        let pull = Pull { step, image, before, began: Instant::now(), at, give_up, thread };
        if run.host.is_counted() {
            // Which boundary is the n-th must not depend on who is quicker.
            while !pull.thread.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.pulls.push(pull);
    }

    /// Records those that have ended, and with `all` waits for the others first. The error is of the first that failed.
    pub fn settle(&mut self, run: &Run, receipt: &mut Receipt, all: bool) -> std::result::Result<(), Box<Failed>> {
        let mut waiting = Vec::new();
        let mut failed = None;
        for pull in std::mem::take(&mut self.pulls) {
            if !all && !pull.thread.is_finished() {
                waiting.push(pull);
                continue;
            }
            if failed.is_some() {
                pull.give_up.store(true, Ordering::SeqCst);
            }
            if let Err(error) = pull.end(run, receipt) {
                failed.get_or_insert(error);
            }
        }
        self.pulls = waiting;
        failed.map_or(Ok(()), Err)
    }

    /// Another step has failed: the engine keeps nothing of what has not ended.
    pub fn give_up(&mut self, run: &Run, receipt: &mut Receipt) {
        for pull in &self.pulls {
            pull.give_up.store(true, Ordering::SeqCst);
        }
        // What comes of them is in the receipt and in the log; the other step's failure is what is told.
        let _ = self.settle(run, receipt, true);
    }
}

impl Pull {
    fn end(self, run: &Run, receipt: &mut Receipt) -> std::result::Result<(), Box<Failed>> {
        let mut progress = run.host.progress(&format!("pulling {}", self.image));
        while !self.thread.is_finished() {
            let at = self.at.lock().ok().and_then(|at| *at);
            if let Some((have, total)) = at {
                progress(have, total);
            }
            std::thread::sleep(LOOK);
        }
        // The line on the terminal goes before anything is said.
        drop(progress);
        let ended =
            self.thread.join().unwrap_or_else(|_| Err(Error::step(format!("pulling {} broke off", self.image))));
        match conclude(run, receipt, &self.step, self.before, ended) {
            Ok(()) => run.report.beside_done(&self.step, self.began.elapsed()),
            Err(error) => return Err(Box::new(Failed { step: self.step, error })),
        }
        Ok(())
    }
}
