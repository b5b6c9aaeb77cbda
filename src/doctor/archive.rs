//! `doctor --support-archive`: what somebody else needs to see of a host, and nothing that they must not.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Value, json};
use tar::Builder;
use xshell::cmd;

use super::{Diagnosis, known};
use crate::backup;
use crate::choice::Aim;
use crate::config::{self, Loaded};
use crate::drift;
use crate::error::{Error, Kind, Result};
use crate::host::{Host, Limits, files::sha256};
use crate::plan;
use crate::receipt::{self, Receipt, timestamp};
use crate::redact::Redactor;
use crate::run::LOG;
use crate::status;

pub const SCHEMA: u32 = 1;
/// Bytes of each log, from its end.
const TAIL: u64 = 256 << 10;
const CONSOLE: &str = "/var/log/awg-install.console";

/// `manifest.json`, the first file of the archive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    pub v: u32,
    pub created: String,
    pub version: &'static str,
    pub files: Vec<Listed>,
    pub missing: Vec<Missing>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    pub path: &'static str,
    pub size: usize,
    pub sha256: String,
}

/// What could not be collected, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missing {
    pub path: &'static str,
    pub why: String,
}

/// Where the archive goes. Refused before anything takes time: a file that is there already, and a directory that
/// others can write to.
pub fn place(host: &Host, file: &Path) -> Result<String> {
    let refuse = |why: String| Error::new(Kind::Usage, format!("--support-archive {}: {why}", file.display()));
    let absolute = if host.is_fake() { Ok(file.to_path_buf()) } else { std::path::absolute(file) };
    let path = absolute.map_err(|e| refuse(e.to_string()))?;
    if host.exists(&path) {
        return Err(refuse("is there already".into()).remedy("name another file, or remove it"));
    }
    let parent = path.parent().filter(|p| host.is_dir(p));
    let parent = parent.ok_or_else(|| refuse("there is no such directory".into()).remedy("make it first"))?;
    let why = "whoever can write there could read the archive while it is written, or exchange it";
    backup::private(host, &parent.to_string_lossy(), why)?;
    Ok(path.to_string_lossy().into_owned())
}

/// Writes the archive, which only root can read, and says what is in it.
pub fn write(
    host: &Host,
    loaded: &Loaded,
    receipt: Option<&Receipt>,
    diagnosis: &Diagnosis,
    name: &str,
) -> Result<Manifest> {
    let mut collected = Collected { redactor: known::redactor(host, &loaded.config), files: vec![], missing: vec![] };
    collect(&mut collected, host, loaded, receipt, diagnosis);
    let Collected { files, missing, .. } = collected;
    let list =
        files.iter().map(|(path, text)| Listed { path, size: text.len(), sha256: sha256(text.as_bytes()) }).collect();
    let version = env!("CARGO_PKG_VERSION");
    let manifest = Manifest { v: SCHEMA, created: timestamp(), version, files: list, missing };
    if host.exists(name) {
        return Err(Error::step(format!("{name}: is there already")).remedy("name another file"));
    }
    let fail = |e: std::io::Error| {
        let remedy = "check the directory and free some space, then run this again";
        Error::step(format!("{name}: cannot be written")).cause(e).remedy(remedy)
    };
    let packed = (|| {
        let mut tar = Builder::new(GzEncoder::new(host.partial_anew(name)?.feed(host), Compression::default()));
        let first = format!("{:#}\n", serde_json::to_value(&manifest).expect("plain data"));
        for (path, text) in
            [("manifest.json", first.as_str())].into_iter().chain(files.iter().map(|(p, t)| (*p, t.as_str())))
        {
            tar.append(&backup::header(path, text.len() as u64, 0o600).map_err(fail)?, text.as_bytes())
                .map_err(fail)?;
        }
        tar.into_inner().and_then(GzEncoder::finish).map_err(fail)?.into_inner().commit(0o600)
    })();
    if packed.is_err() {
        let _ = host.remove_file(format!("{name}.part"));
    }
    packed.map(|()| manifest)
}

/// What people are told of it.
pub fn text(name: &str, manifest: &Manifest) -> String {
    let mut text = format!("Archive:  {name} ({} files)", manifest.files.len());
    for Missing { path, why } in &manifest.missing {
        text.push_str(&format!("\nLeft out: {path}: {why}"));
    }
    text.push_str(
        "\nPasswords, keys, public addresses and names of peers are taken out; look through it before you hand it on.",
    );
    text
}

struct Collected {
    redactor: Redactor,
    files: Vec<(&'static str, String)>,
    missing: Vec<Missing>,
}

impl Collected {
    /// A text of which nothing is known: what looks like a secret, or is one, goes.
    fn text(&mut self, path: &'static str, text: std::result::Result<String, String>) {
        match text {
            Ok(text) => self.files.push((path, self.redactor.text(&drift::redacted(&text)))),
            Err(why) => self.missing.push(Missing { path, why: self.redactor.text(&why) }),
        }
    }

    fn json(&mut self, path: &'static str, mut value: Value) {
        self.redactor.value(&mut value);
        self.files.push((path, format!("{value:#}\n")));
    }

    /// JSON lines; one that is none is left out.
    fn lines(&mut self, path: &'static str, text: std::result::Result<String, String>) {
        let redacted = text.map(|text| {
            let values = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let shown = values.map(|mut value| {
                self.redactor.value(&mut value);
                format!("{value}\n")
            });
            shown.collect::<String>()
        });
        match redacted {
            Ok(text) => self.files.push((path, text)),
            Err(why) => self.missing.push(Missing { path, why }),
        }
    }
}

fn collect(to: &mut Collected, host: &Host, loaded: &Loaded, receipt: Option<&Receipt>, diagnosis: &Diagnosis) {
    let (config, facts) = (&loaded.config, &diagnosis.facts);
    let unknown = known::peers(host, config).err().map(|why| format!("names of peers may be in it: {why}"));
    let diagnosis = &if unknown.is_some() { diagnosis.without_quotes() } else { diagnosis.clone() };
    let read = |path: &str| host.read_text(path).ok_or_else(|| format!("{path} cannot be read"));
    let tail = |path: &str| {
        let from = host.size(path).saturating_sub(TAIL);
        let bytes = host.read_from(path, from).ok_or_else(|| format!("{path} cannot be read"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The first line may be cut.
        Ok(if from > 0 { text.split_once('\n').map(|(_, rest)| rest.to_string()).unwrap_or_default() } else { text })
    };
    to.json("doctor.json", diagnosis.document());
    let plain = console::strip_ansi_codes(&diagnosis.text(false)).into_owned();
    let plain = to.redactor.text(&plain);
    to.files.push(("doctor.txt", format!("{plain}\n")));
    match receipt {
        Some(receipt) => {
            let seen = status::Status::of(config, facts, receipt);
            to.json("status.json", seen.document(seen.exit_code(false)));
            let text = host.read_text(receipt::PATH).and_then(|t| serde_json::from_str(&t).ok());
            to.json("receipt.json", text.unwrap_or_default());
        }
        None => {
            for path in ["status.json", "receipt.json"] {
                to.missing.push(Missing { path, why: "nothing was installed here".into() });
            }
        }
    }
    match plan::plan(config, facts, receipt, Aim::Install) {
        Ok(plan) => to.json("plan.json", serde_json::to_value(plan).expect("plain data")),
        Err(error) => to.missing.push(Missing { path: "plan.json", why: to.redactor.text(&error.message) }),
    }
    let effective = to.redactor.text(&config::render_effective(loaded));
    to.files.push(("config.yaml", effective));
    to.lines("log.jsonl", tail(LOG));
    to.text("console.log", unknown.clone().map_or_else(|| tail(CONSOLE), Err));
    let directory = &config.container.directory;
    for (path, name) in [
        ("container/compose.yaml", "compose.yaml"),
        ("container/start.sh", "start.sh"),
        ("container/firewall.sh", "firewall.sh"),
    ] {
        to.text(path, read(&format!("{directory}/{name}")));
    }
    match host.engine_get(&format!("/containers/{}/json", config.container.name)).found() {
        Some(answer) => to.json("container/inspect.json", inspected(&answer)),
        None => {
            to.missing.push(Missing { path: "container/inspect.json", why: "the engine knows no container".into() })
        }
    }
    let said = crate::container::said(host, config);
    let lines = said.lines.iter().map(|l| format!("{l}\n")).collect::<String>();
    to.text("container/log.txt", said.unread.or(unknown).map_or(Ok(lines), Err));
    to.text("host/os-release", read("/etc/os-release"));
    to.text("host/modules", read("/proc/modules"));
    to.text("host/cmdline", read("/proc/cmdline"));
    to.text("host/uname", Ok(format!("Linux {} {}\n", facts.kernel.running, facts.arch)));
    let sh = host.shell();
    let ask = |cmd: xshell::Cmd<'_>| {
        let out = host.ask(cmd, Limits::seconds(30));
        if out.ok() { Ok(out.stdout) } else { Err(format!("`{}`: {}", out.shown, out.tail(1))) }
    };
    to.text("host/df", ask(cmd!(sh, "df -k")));
    to.text("host/iptables-filter", ask(cmd!(sh, "iptables -t filter -S")));
    to.text("host/iptables-nat", ask(cmd!(sh, "iptables -t nat -S")));
    to.text("host/iptables-mangle", ask(cmd!(sh, "iptables -t mangle -S")));
    let ours = |text: String| {
        let lines = text.lines().filter(|l| l.contains("amneziawg") || l.contains("wireguard"));
        lines.map(|l| format!("{l}\n")).collect::<String>()
    };
    to.text("host/dmesg", ask(cmd!(sh, "dmesg")).map(ours));
}

/// What matters of the answer to `/containers/NAME/json`: the fields named here and no others. Of the environment
/// only the names.
fn inspected(answer: &Value) -> Value {
    let (state, host, config) = (&answer["State"], &answer["HostConfig"], &answer["Config"]);
    let pick = |from: &Value, names: &[&str]| -> Value {
        names.iter().filter(|n| !from[**n].is_null()).map(|n| (n.to_string(), from[*n].clone())).collect()
    };
    let names = config["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.map(|e| e.split('=').next().unwrap_or_default()).collect();
    let mut seen = pick(answer, &["Image", "RestartCount", "Created"]);
    seen["State"] =
        pick(state, &["Status", "Running", "Restarting", "Paused", "OOMKilled", "ExitCode", "StartedAt", "FinishedAt"]);
    seen["State"]["Health"] = state["Health"]["Status"].clone();
    seen["HostConfig"] = pick(
        host,
        &[
            "Privileged",
            "CapAdd",
            "CapDrop",
            "SecurityOpt",
            "Devices",
            "Memory",
            "PidsLimit",
            "RestartPolicy",
            "Sysctls",
        ],
    );
    seen["Config"] = json!({"Image": config["Image"], "Env": names, "Healthcheck": config["Healthcheck"]["Test"]});
    seen
}
