//! How far a long piece of work is: one line that is written anew on a terminal, a line now and then
//! elsewhere, events for scripts. What takes less than a second shows nothing.

use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use serde_json::{Value, json};

/// Before this nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// What progress is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Nobody wants to know.
    None,
    /// A terminal, where a line can be written over.
    Terminal,
    /// A file, a pipe, or a terminal that cannot do that.
    Lines,
    /// A program that reads one JSON object per line.
    Events,
}

impl Audience {
    /// Of standard output; `term` is the kind of terminal (`TERM`).
    pub fn of(json: bool, quiet: bool, term: Option<&str>, is_terminal: bool) -> Audience {
        match (json, quiet, is_terminal && term.is_some_and(|t| !t.is_empty() && t != "dumb")) {
            (true, ..) => Audience::Events,
            (_, true, _) => Audience::None,
            (.., true) => Audience::Terminal,
            (.., false) => Audience::Lines,
        }
    }

    /// Between two showings.
    fn interval(self) -> Duration {
        match self {
            Audience::None => Duration::MAX,
            Audience::Terminal => Duration::from_millis(200),
            Audience::Lines => Duration::from_secs(5),
            Audience::Events => Duration::from_secs(1),
        }
    }
}

/// Takes bytes so far and bytes in all, as [`crate::fetch::Progress`] does, and shows them on standard output.
/// The line on a terminal goes when this is dropped.
pub fn progress(audience: Audience, what: &str) -> impl FnMut(u64, Option<u64>) + use<> {
    let mut line = Line { audience, meter: Meter::new(audience, what), began: Instant::now(), term: Term::stdout() };
    move |have, total| line.update(have, total)
}

struct Line {
    audience: Audience,
    meter: Meter,
    began: Instant,
    term: Term,
}

impl Line {
    fn update(&mut self, have: u64, total: Option<u64>) {
        let Some(at) = self.meter.update(self.began.elapsed(), have, total) else { return };
        match self.audience {
            Audience::None => {}
            Audience::Lines => super::say(&at),
            Audience::Events => super::say(&super::event("progress", at.fields())),
            Audience::Terminal => {
                // A line that wraps could not be written over.
                let width = usize::from(self.term.size().1).saturating_sub(1);
                let text = at.to_string();
                let _ = self.term.clear_line();
                let _ = self.term.write_str(&truncate_str(&text, width, "")).and_then(|()| self.term.flush());
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.audience == Audience::Terminal && self.meter.shown.is_some() {
            let _ = self.term.clear_line();
        }
    }
}

/// Decides when to show what, by a clock that it is given.
struct Meter {
    what: String,
    interval: Duration,
    /// What was there, and when, as counting began: the rate is of what has come since.
    base: Option<(Duration, u64)>,
    last: u64,
    shown: Option<Duration>,
}

impl Meter {
    fn new(audience: Audience, what: &str) -> Meter {
        Meter { what: what.into(), interval: audience.interval(), base: None, last: 0, shown: None }
    }

    /// `now` is the time since the work began.
    fn update(&mut self, now: Duration, have: u64, total: Option<u64>) -> Option<At> {
        // What an earlier run left has not come now, and a transfer that begins anew has not gone backwards.
        if self.base.is_none() || have < self.last {
            self.base = Some((now, have));
        }
        self.last = have;
        if now < self.shown.map_or(PATIENCE, |shown| shown.saturating_add(self.interval)) {
            return None;
        }
        self.shown = Some(now);
        let (since, before) = self.base.unwrap_or_default();
        let took = now.saturating_sub(since).as_secs_f64();
        let rate = if took > 0.0 { ((have - before) as f64 / took) as u64 } else { 0 };
        Some(At { what: self.what.clone(), have, total, rate, elapsed: now })
    }
}

/// One showing.
struct At {
    what: String,
    have: u64,
    total: Option<u64>,
    /// Bytes a second.
    rate: u64,
    elapsed: Duration,
}

impl At {
    fn fields(&self) -> Value {
        json!({"what": self.what, "bytes": self.have, "total": self.total, "bytes_per_second": self.rate,
            "ms": self.elapsed.as_millis() as u64})
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, size(self.have))?;
        if let Some(total) = self.total.filter(|t| *t > 0) {
            write!(f, " of {} ({} %)", size(total), (u128::from(self.have) * 100 / u128::from(total)).min(100))?;
        }
        write!(f, ", {}/s, {} s", size(self.rate), self.elapsed.as_secs())
    }
}

/// As people read it, in powers of 1024.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A megabyte every 100 ms, of ten in all; what is shown, and when.
    fn shown(audience: Audience, steps: u64) -> Vec<(u64, String)> {
        let mut meter = Meter::new(audience, "the module");
        (0..=steps)
            .filter_map(|n| {
                let at = meter.update(Duration::from_millis(n * 100), n << 20, Some(100 << 20))?;
                Some((n * 100, at.to_string()))
            })
            .collect()
    }

    #[test]
    fn what_is_quick_shows_nothing() {
        for audience in [Audience::Terminal, Audience::Lines, Audience::Events] {
            assert_eq!(shown(audience, 9), []);
            assert_eq!(shown(audience, 10).len(), 1);
        }
        assert_eq!(shown(Audience::None, 10).len(), 1, "the meter itself does not know who looks");
    }

    #[test]
    fn each_audience_has_its_pace() {
        let times = |audience| -> Vec<u64> { shown(audience, 120).iter().map(|(at, _)| *at).collect() };
        assert_eq!(times(Audience::Lines), [1000, 6000, 11000]);
        assert_eq!(times(Audience::Events), (1..=12).map(|s| s * 1000).collect::<Vec<u64>>());
        assert_eq!(times(Audience::Terminal).len(), 56);
    }

    #[test]
    fn a_line_has_bytes_total_rate_and_time() {
        let lines = shown(Audience::Lines, 60);
        assert_eq!(lines[1].1, "the module: 60.0 MiB of 100.0 MiB (60 %), 10.0 MiB/s, 6 s");
        let mut meter = Meter::new(Audience::Lines, "the image");
        meter.update(Duration::ZERO, 0, None);
        let at = meter.update(Duration::from_secs(2), 1000, None).expect("shown");
        assert_eq!(at.to_string(), "the image: 1000 B, 500 B/s, 2 s");
        assert_eq!(
            at.fields(),
            json!({"what": "the image", "bytes": 1000, "total": null, "bytes_per_second": 500, "ms": 2000})
        );
    }

    #[test]
    fn only_what_comes_now_counts_for_the_rate() {
        let mut meter = Meter::new(Audience::Events, "x");
        // 5000 bytes were left by an earlier run.
        assert!(meter.update(Duration::from_millis(500), 5000, Some(9000)).is_none());
        let at = meter.update(Duration::from_millis(2500), 7000, Some(9000)).expect("shown");
        assert_eq!((at.have, at.rate), (7000, 1000));
        // The server sends all of it once more.
        assert!(meter.update(Duration::from_millis(3000), 100, Some(9000)).is_none());
        let at = meter.update(Duration::from_millis(4000), 600, Some(9000)).expect("shown");
        assert_eq!((at.have, at.rate), (600, 500));
    }

    #[test]
    fn who_looks() {
        let of = Audience::of;
        assert_eq!(of(true, true, Some("xterm"), true), Audience::Events);
        assert_eq!(of(false, true, Some("xterm"), true), Audience::None);
        assert_eq!(of(false, false, Some("xterm"), true), Audience::Terminal);
        for (term, is_terminal) in [(Some("dumb"), true), (Some(""), true), (None, true), (Some("xterm"), false)] {
            assert_eq!(of(false, false, term, is_terminal), Audience::Lines, "{term:?} {is_terminal}");
        }
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (3 << 19, "1.5 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
