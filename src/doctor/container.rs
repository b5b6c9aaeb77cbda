//! The container: the engine it runs on, what it may do, what carries the tunnel, what it has said.

use std::collections::BTreeSet;

use super::check::{Found, View, problem};
use crate::config::Privilege;
use crate::facts::Container;
use crate::owned::{Backend, Rung, rights};
use crate::plan;
use crate::preflight;

/// Words in a line of the server that tell of a failure nobody here knows.
const FAILURES: &[&str] = &["error", "fatal", "panic", "exception"];
/// The last of them that are shown.
const SHOWN: usize = 3;

pub fn engine(view: &View) -> Found {
    let engine = &view.facts.engine;
    let start = match view.facts.os.init.as_str() {
        "systemd" => "systemctl start docker; `journalctl -u docker` where that fails",
        _ => "rc-service docker start; /var/log/docker.log where that fails",
    };
    if !engine.installed {
        return Found::bad(problem("docker is not installed", "it was removed", "run `awg-install install`"));
    }
    if !engine.answers {
        let why = engine.problem.clone().unwrap_or_else(|| "nothing listens on its socket".into());
        return Found::bad(problem("the container engine does not answer", why, start));
    }
    if engine.compose.is_empty() {
        let remedy = "install it: docker-cli-compose on Alpine";
        return Found::bad(problem("docker has no compose", "the plugin was removed", remedy));
    }
    Found::good(format!("docker {} answers, `{}` is there", engine.version, engine.compose))
}

/// The image, and the programs in it that the mode needs.
pub fn image(view: &View) -> Found {
    let (name, facts) = (view.config.container.image.to_string(), view.facts);
    let Some(image) = &facts.engine.image else {
        return Found::bad(problem(
            format!("{name} is not here"),
            "it was removed: the container cannot be made anew",
            "run `awg-install install`, which fetches it",
        ));
    };
    if let Some(misfit) = image.misfit(&name, &facts.arch) {
        return Found::bad(misfit);
    }
    let legacy = facts.legacy_tables(&facts.kernel.running);
    let backend = if legacy { Backend::Legacy } else { Backend::Nft };
    let lacks = image.programs.as_ref().map(|p| preflight::lacking(p, view.rung, backend)).unwrap_or_default();
    if !lacks.is_empty() {
        return Found::bad(preflight::image_lacks(&name, view.rung, &lacks));
    }
    Found::good(image.digest.clone().unwrap_or(name))
}

/// What it may do, against what the configuration asks for.
pub fn privileges(view: &View) -> Found {
    let Some(container) = &view.facts.container else { return absent() };
    let list = |c: &BTreeSet<String>| match c.is_empty() {
        true => "none".to_string(),
        false => c.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    let shown = |privileged: bool, c: &BTreeSet<String>| {
        format!("capabilities {}, {}", list(c), if privileged { "privileged" } else { "not privileged" })
    };
    let seen = shown(container.privileged, &container.capabilities);
    let Ok(plan) = view.plan else { return Found::skipped(format!("{seen}; what was asked for cannot be told")) };
    let wanted = plan::inputs(view.config, view.facts, &plan.choice).and_then(|inputs| rights(&inputs));
    let Ok((privileged, capabilities)) = wanted else {
        return Found::skipped(format!("{seen}; what was asked for cannot be told"));
    };
    if container.privileged == privileged && container.capabilities == capabilities {
        let word = if view.config.container.privilege == Privilege::Documented { "documented" } else { "least" };
        return Found::good(format!("{seen}, as container.privilege: {word} has it"));
    }
    Found::bad(problem(
        format!("{seen}; wanted: {}", shown(privileged, &capabilities)),
        "somebody has made the container anew from another file, or has edited compose.yaml",
        "run `awg-install install`: it is made anew",
    ))
}

/// The image's own check asks `wg`, which never sees an interface of AmneziaWG.
pub fn health_check(view: &View) -> Found {
    if view.facts.container.is_none() {
        return absent();
    }
    let tool = if view.rung == Rung::Wireguard { "wg show" } else { "awg show" };
    let check = view.more.made.health_check.as_deref().unwrap_or_default();
    // `awg show` holds `wg show`.
    let asks = |what: &str| check.replace("awg show", "AWG").contains(&what.replace("awg show", "AWG"));
    if asks(tool) {
        return Found::good(format!("asks `{tool}`"));
    }
    let seen = match check {
        "" => "it has none of its own".to_string(),
        other => format!("it asks `{other}`, not `{tool}`"),
    };
    Found::bad(problem(
        seen,
        "the image's own check is for standard WireGuard, and calls a tunnel of AmneziaWG ill",
        "run `awg-install install`: the compose file overrides it",
    ))
}

/// What carries the tunnel, and whether the container's next start would choose the same.
pub fn mode(view: &View) -> Found {
    let Some(container) = &view.facts.container else { return absent() };
    let (made, rung) = (&view.more.made, view.rung);
    let wanted = if rung == Rung::Wireguard { "wg" } else { "awg" };
    let word = |v: &Option<String>| v.clone().unwrap_or_else(|| "absent".into());
    if made.experimental.as_deref() != Some("true") || made.override_auto.as_deref() != Some(wanted) {
        return Found::bad(problem(
            format!(
                "EXPERIMENTAL_AWG is {}, OVERRIDE_AUTO_AWG is {}",
                word(&made.experimental),
                word(&made.override_auto)
            ),
            format!(
                "the {} mode takes true and {wanted}; else the image guesses, and ends in plain WireGuard",
                rung.as_str()
            ),
            "run `awg-install install`: the environment is written anew",
        ));
    }
    let kind = container.interface.as_deref().unwrap_or("absent");
    Found::good(format!("wg0 is {kind}: {} mode, as decided; OVERRIDE_AUTO_AWG is {wanted}", rung.as_str()))
}

/// After the first start the password must be nowhere any more.
pub fn password(view: &View) -> Found {
    match &view.facts.container {
        None => absent(),
        Some(c) if c.first_start && view.facts.database => Found::bad(problem(
            "the container's environment still holds the administrator's password",
            "it was not made anew after its first start: whoever may ask the engine can read it",
            "run `awg-install install`",
        )),
        Some(_) => Found::good("the container's environment holds no password"),
    }
}

pub fn restarts(view: &View) -> Found {
    match &view.facts.container {
        None => absent(),
        Some(Container { restarts: 0, .. }) => Found::good("never since the container was made"),
        Some(c) => Found::warning(problem(
            format!("{} times since the container was made", c.restarts),
            "the server has ended by itself, and the engine has started it again",
            format!("`docker logs {}` shows what it said before; see the check `log`", view.config.container.name),
        )),
    }
}

/// The last lines of the server.
pub fn log(view: &View) -> Found {
    let Some(said) = &view.more.said else { return absent() };
    if let Some(why) = &said.unread {
        let name = &view.config.container.name;
        let seen = "what the container has said cannot be read";
        return Found::warning(problem(seen, why, format!("`docker logs {name}`")));
    }
    if let Some((cause, remedy)) = said.known() {
        return Found::warning(problem("its last lines tell of a known failure", cause, remedy));
    }
    let failures: Vec<&str> = said.lines.iter().map(String::as_str).filter(|l| is_failure(l)).collect();
    if failures.is_empty() {
        return Found::good(format!("{} lines, none tells of a failure", said.lines.len()));
    }
    Found::warning(problem(
        format!("{} of its last {} lines tell of a failure", failures.len(), said.lines.len()),
        failures[failures.len().saturating_sub(SHOWN)..].join("\n"),
        format!("`docker logs {}` shows all", view.config.container.name),
    ))
}

fn is_failure(line: &str) -> bool {
    let lower = line.to_lowercase();
    FAILURES.iter().any(|word| lower.contains(word))
}

fn absent() -> Found {
    Found::skipped("there is no container")
}
