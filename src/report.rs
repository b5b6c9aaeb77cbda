//! What people and scripts see: plain lines for the first, one JSON object per line for the second.
//! The same events go to the log.

pub mod explain;
pub mod progress;
mod wrap;

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use console::{Style, style};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Color, Globals, Output};
use crate::drift::Diff;
use crate::error::Error;
use crate::facts::Facts;
use crate::host::{Log, tls::Page};
use crate::https;
use crate::plan::Plan;
use crate::proof::Proof;
use crate::receipt::timestamp;
use crate::step::Step;
use progress::Audience;
pub use wrap::wrap;

/// Version of the event lines.
pub const EVENTS: u32 = 1;

pub struct Report<'a> {
    json: bool,
    quiet: bool,
    verbose: bool,
    log: &'a Log,
    audience: Audience,
    /// The last document was printed: nothing follows it.
    ended: Cell<bool>,
}

impl<'a> Report<'a> {
    pub fn new(globals: &Globals, log: &'a Log, env: &std::collections::BTreeMap<String, String>) -> Report<'a> {
        let colors = match globals.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => console::colors_enabled() && !env.contains_key("NO_COLOR"),
        };
        console::set_colors_enabled(colors);
        let (json, quiet) = (globals.output == Output::Json, globals.quiet);
        let term = env.get("TERM").map(String::as_str);
        let audience = Audience::of(json, quiet, term, console::Term::stdout().is_term());
        Report { json, quiet, verbose: globals.verbose > 0, log, audience, ended: Cell::new(false) }
    }

    /// Whom progress is shown to, for [`progress::progress`].
    pub fn audience(&self) -> Audience {
        self.audience
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn event(&self, kind: &str, fields: Value) {
        let event = event(kind, fields);
        if self.json {
            say(&event);
        }
        self.log.event(event);
    }

    fn line(&self, text: impl std::fmt::Display) {
        if !self.json && !self.quiet {
            say(&text);
        }
    }

    /// The host, the choice and every step, before anything happens.
    pub fn plan(&self, plan: &Plan, facts: &Facts) {
        self.event("plan", json!({"plan": plan}));
        self.line(plan_text(plan, facts));
    }

    pub fn step(&self, number: usize, total: usize, step: &Step) {
        self.event(
            "step-started",
            json!({"step": step.id(), "number": number, "total": total, "what": step.to_string()}),
        );
        let digits = total.to_string().len();
        let line = format!("{} {step}", style(format!("[{number:>digits$}/{total}]")).dim());
        self.line(wrap(&line, 2 * digits + 4));
    }

    pub fn step_done(&self, step: &Step, took: Duration) {
        self.done(step, took, |took| format!("        done in {took}"));
    }

    /// The end of a step that others went on beside.
    pub fn beside_done(&self, step: &Step, took: Duration) {
        self.done(step, took, |took| format!("        {step}: done in {took}, beside the others"));
    }

    fn done(&self, step: &Step, took: Duration, line: impl Fn(&str) -> String) {
        self.event("step-done", json!({"step": step.id(), "ms": took.as_millis() as u64}));
        if took.as_secs() >= 1 || self.verbose {
            let line = line(&format!("{:.1} s", took.as_secs_f64()));
            self.line(style(wrap(&line, 10)).dim());
        }
    }

    pub fn proof(&self, interface: &str, port: u16, web: Option<u16>) {
        self.event("proof", json!({"interface": interface, "udp_port": port, "web_status": web}));
        let web = web.map_or(String::new(), |s| format!(", web page answers ({s})"));
        self.line(wrap(&format!("        container healthy, wg0 is {interface}, UDP {port} bound{web}"), 0));
    }

    pub fn https(&self, url: &str, page: &Page) {
        self.event(
            "https-proof",
            json!({"url": url, "web_status": page.status, "issuer": page.issuer, "trusted": page.trusted}),
        );
        self.line(format!("        {}", https::seen(page)));
    }

    pub fn tunnel(&self, proof: &Proof) {
        let srcversion = proof.proven.srcversion.as_deref().unwrap_or("unknown");
        self.event(
            "tunnel-proof",
            json!({"release": proof.proven.release, "srcversion": proof.proven.srcversion,
                "image": proof.proven.image, "handshake": proof.handshake}),
        );
        self.line(format!("        handshake and ping through a tunnel of the module (srcversion {srcversion})"));
    }

    pub fn note(&self, text: &str) {
        self.event("note", json!({"text": text}));
        self.line(wrap(text, 0));
    }

    /// The last word. In JSON a final document of its own.
    pub fn end(&self, outcome: &str, exit_code: u8, summary: &str, more: &str) {
        self.ended.set(true);
        self.event("end", json!({"outcome": outcome, "exit_code": exit_code, "summary": summary}));
        let mark = if matches!(exit_code, 0) { Style::new().green().bold() } else { Style::new().yellow().bold() };
        let summary = wrap(&mark.apply_to(summary).to_string(), 0);
        if self.quiet && !self.json {
            // The result, without what to do next.
            say(&summary);
        }
        self.line(format!("{summary}{}{more}", if more.is_empty() { "" } else { "\n" }));
    }

    /// What a command has found out, as its last document: one line, with its kind and the exit code beside the
    /// result's own fields.
    pub fn document(&self, kind: &str, exit_code: u8, result: &impl Serialize) {
        self.ended.set(true);
        let mut document = json!({"v": EVENTS, "type": kind, "exit_code": exit_code});
        let mut fields = serde_json::to_value(result).expect("plain data");
        if let (Value::Object(document), Value::Object(fields)) = (&mut document, &mut fields) {
            document.append(fields);
        }
        say(&document);
    }

    /// For programs: whatever came of a command, its last line is a document with the exit code.
    pub fn close(&self, exit_code: u8, error: Option<&Error>) {
        if !self.json || self.ended.get() && error.is_none() {
            return;
        }
        let (outcome, summary) = match error {
            Some(error) if matches!(error.exit_code(), 6) => ("failed", error.message.as_str()),
            Some(error) => ("refused", error.message.as_str()),
            None => ("ended", ""),
        };
        say(&event("end", json!({"outcome": outcome, "exit_code": exit_code, "summary": summary})));
    }

    pub fn error(&self, error: &Error) {
        self.event(
            "error",
            json!({"message": error.message, "cause": error.cause, "remedy": error.remedy, "exit_code": error.exit_code()}),
        );
        if !self.json {
            let text = format!("{} {error}\n", style("error:").red().bold().for_stderr());
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

/// A command line that cannot be read, for a program that has asked for JSON in it.
pub fn usage(text: &str, exit_code: u8) {
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let fields = json!({"message": message, "cause": null, "remedy": "see --help", "exit_code": exit_code});
    say(&event("error", fields));
    say(&event("end", json!({"outcome": "refused", "exit_code": exit_code, "summary": message})));
}

fn event(kind: &str, mut fields: Value) -> Value {
    let mut event = json!({"v": EVENTS, "ts": timestamp(), "type": kind});
    if let (Value::Object(event), Value::Object(fields)) = (&mut event, &mut fields) {
        event.append(fields);
    }
    event
}

/// A line on standard output. A reader that has gone away, such as a lost SSH session, is no reason to stop.
pub fn say(text: &impl std::fmt::Display) {
    let _ = std::io::stdout().write_all(format!("{text}\n").as_bytes());
}

/// How files would change, each line under the label of the first.
pub fn diffs_text(diffs: &[Diff]) -> String {
    let one = |d: &Diff| format!("Diff:  {}\n", d.text.replace('\n', "\n       "));
    diffs.iter().map(one).collect()
}

/// The plan as text.
pub fn plan_text(plan: &Plan, facts: &Facts) -> String {
    let labelled = |label: &str, text: String| wrap(&format!("{label:<7}{text}"), 7) + "\n";
    let mut text = labelled("Host:", host_text(facts));
    let choice = &plan.choice;
    let on = choice.release.as_ref().map(|r| format!(" on {r}")).unwrap_or_default();
    let mode = match choice.open {
        Some(_) => style("not decided yet").bold().to_string(),
        None => format!("{}{on}", style(choice.rung.as_str()).bold()),
    };
    text.push_str(&labelled("Mode:", format!("{mode} ({})", choice.why)));
    for passed in &choice.passed_over {
        text.push_str(&labelled("", format!("passed over: {} ({})", passed.what, passed.why)));
    }
    for note in &plan.notes {
        text.push_str(&labelled("Note:", note.clone()));
    }
    text.push_str(&diffs_text(&plan.diffs));
    if plan.steps.is_empty() {
        text.push_str("Plan:  nothing to do");
        return text;
    }
    text.push_str("Plan:\n");
    for (index, planned) in plan.steps.iter().enumerate() {
        let beside = if planned.beside { " (goes on beside the next steps)" } else { "" };
        text.push_str(&wrap(&format!("  {:>2}. {}{beside}", index + 1, planned.step), 6));
        text.push_str(&format!("\n{}\n", wrap(&format!("      {}", style(&planned.why).dim()), 0)));
    }
    if let Some(path) = plan.critical_path() {
        text.push_str(&labelled("Path:", format!("{path}: the others of these go on meanwhile")));
    }
    text.trim_end().to_string()
}

/// What kind of host this is, in one line.
pub fn host_text(facts: &Facts) -> String {
    format!(
        "{}, {}, kernel {}{}",
        if facts.os.name.is_empty() { "unknown system" } else { &facts.os.name },
        facts.arch,
        facts.kernel.running,
        if facts.boot.loader.is_empty() { String::new() } else { format!(", boots with {}", facts.boot.loader) },
    )
}
