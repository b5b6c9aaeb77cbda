//! What is said before anything is asked: what this host is, and what it can be made into.

use console::style;

use crate::choice::{self, Aim};
use crate::config::{Config, Mode};
use crate::facts::Facts;
use crate::owned::CONFIG;
use crate::receipt::{Outcome, Receipt};
use crate::report::{host_text, wrap};

/// The first screen.
pub fn text(config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> String {
    let mut lines = vec![
        style("awg-install: an AmneziaWG server on this host").bold().to_string(),
        wrap("Nothing is changed before you have seen a plan and said yes to it.", 0),
        String::new(),
        labelled("Host:", &host_text(facts)),
        labelled("Mode:", &mode(config, facts, receipt)),
    ];
    lines.extend(stands(facts, receipt).map(|text| labelled("State:", &text)));
    lines.join("\n") + "\n"
}

fn labelled(label: &str, text: &str) -> String {
    wrap(&format!("{label:<7}{text}"), 7)
}

/// Which mode is possible, as far as that can be told without the network.
fn mode(config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> String {
    let config = Config { mode: Mode::Auto, ..config.clone() };
    match choice::choose(&config, facts, receipt, Aim::Install) {
        Err(error) => format!("none yet: {}", error.message),
        Ok(choice) => match (&choice.open, &choice.release) {
            (Some(open), _) => format!("to be found out: {open}"),
            (None, Some(release)) if *release == facts.kernel.running => {
                format!("{} on the kernel that runs, without a restart ({})", choice.rung.as_str(), choice.why)
            }
            (None, Some(release)) => format!("{} on {release}, with a restart ({})", choice.rung.as_str(), choice.why),
            (None, None) => format!("{} ({})", choice.rung.as_str(), choice.why),
        },
    }
}

/// What is here already.
fn stands(facts: &Facts, receipt: Option<&Receipt>) -> Option<String> {
    let settings = format!("its settings are in {CONFIG}");
    match receipt {
        Some(r) if r.outcome == Outcome::Done => Some(format!(
            "installed already ({}); {settings}; this only looks whether something is to be done",
            r.summary
        )),
        Some(r) if r.reboot.is_some() => Some(format!("begun, and waits for a restart ({}); {settings}", r.summary)),
        Some(r) => Some(format!("begun, and not finished ({}); {settings}", r.summary)),
        None if facts.database => Some("a server's data is here already, and is kept with its login".into()),
        None => None,
    }
}
