//! `--output json`: one document a line, the last with the exit code, whatever came of the command; and `--quiet`.

mod support;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use support::golden::{assert_golden, normal};
use support::{CONFIG, MODULE, Ran, Root, repository};

/// Every line of an output, after looking at what all of them have in common.
#[track_caller]
fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line:?}\n{ran:?}"));
    let lines: Vec<Value> = ran.out.lines().map(parse).collect();
    for line in &lines {
        assert!(line["v"] == 1 && line["type"].is_string(), "{line}");
    }
    let last = lines.last().unwrap_or_else(|| panic!("nothing was printed: {ran:?}"));
    assert_eq!(last["exit_code"], ran.code, "the last document has the exit code: {ran:?}");
    lines
}

fn json(root: &Root, args: &[&str]) -> Ran {
    root.run(&[args, &["--output", "json"]].concat())
}

/// As a reader of an older release takes it: fields that were added do not matter.
fn old<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = repository().join("tests/contract").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"))).collect()
}

/// Keeps an output as an example.
fn example(root: &Root, name: &str, ran: &Ran) {
    let mut text = String::new();
    for mut line in lines(ran) {
        normal(&mut line);
        text.push_str(&format!("{line}\n").replace(&root.dir().display().to_string(), ""));
    }
    let today = &awg_install::receipt::timestamp()[..10];
    assert_golden(&format!("tests/contract/{name}"), &text.replace(&format!("since {today}"), "since 2026-01-02"));
}

#[test]
fn every_command_ends_in_a_document_with_its_exit_code() {
    let root = Root::fresh();
    example(&root, "plan-command.json", &json(&root, &["plan", "--config", CONFIG]).expect(0));
    lines(&json(&root, &["plan", "--config", CONFIG, "--detailed-exitcode"]).expect(10));
    example(&root, "status-none.json", &json(&root, &["status"]).expect(0));
    example(&root, "module.json", &json(&root, &["module", "inspect", MODULE]).expect(0));
    lines(&json(&root, &["rollback"]).expect(0));
    lines(&json(&root, &["guard"]).expect(0));
    let first = lines(&json(&root, &["install", "--unattended", "--config", CONFIG]).expect(0));
    assert_eq!(first.last().unwrap()["outcome"], "reboot-scheduled");
    lines(&json(&root, &["resume"]).expect(0));
    example(&root, "status.json", &json(&root, &["status"]).expect(0));
    let mut ran = json(&root, &["doctor"]).expect(0);
    let mut document: Value = serde_json::from_str(&ran.out).expect("one line");
    for check in document["checks"].as_array_mut().expect("a list") {
        if check["name"] == "clock" {
            check["evidence"] = "…".into();
        }
    }
    ran.out = format!("{document}\n");
    example(&root, "doctor.json", &ran);
    lines(&json(&root, &["guard"]).expect(0));
    lines(&json(&root, &["backup"]).expect(0));
    lines(&json(&root, &["rollback", "--no-reboot"]).expect(7));
    root.reboot();
    example(&root, "rollback.jsonl", &json(&root, &["resume"]).expect(0));
}

#[test]
fn what_is_refused_or_fails_ends_in_one_as_well() {
    let root = Root::fresh();
    root.write("/root/bad.yaml", "server: {prot: 1}\n");
    example(&root, "refused.jsonl", &json(&root, &["install", "--unattended", "--config", "/root/bad.yaml"]).expect(3));
    for (args, code) in [
        (&["install", "--nonsense"][..], 2),
        (&["nonsense"], 2),
        (&["install", "--config", CONFIG], 2),
        (&["plan", "--config", "/root/bad.yaml"], 3),
        (&["status", "--config", "/root/bad.yaml"], 3),
        (&["doctor", "--config", "/root/absent.yaml"], 3),
        (&["module", "inspect", "/root/absent.ko"], 5),
    ] {
        let ran = json(&root, args).expect(code);
        let lines = lines(&ran);
        let error = lines.iter().find(|l| l["type"] == "error").unwrap_or_else(|| panic!("{args:?}: {ran:?}"));
        assert_eq!(error["exit_code"], code);
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{error}");
        let last = lines.last().unwrap();
        assert_eq!((&last["type"], &last["outcome"]), (&"end".into(), &"refused".into()), "{args:?}");
    }
    let here = root.dir().join("nowhere").display().to_string();
    let program = std::process::Command::new(support::program())
        .args(["--root", &here, "status", "--output=json"])
        .output()
        .expect("the program");
    let out = String::from_utf8_lossy(&program.stdout).into_owned();
    lines(&Ran { code: program.status.code().unwrap_or(-1), out, err: String::new() });

    root.write("/proc/sys/kernel/arch", "riscv64\n");
    root.write(CONFIG, "mode: userspace\nserver: {host: h.example, username: admin, password_file: /root/password}\n");
    lines(&json(&root, &["plan", "--config", CONFIG]).expect(4));
    lines(&json(&root, &["install", "--unattended", "--config", CONFIG]).expect(4));

    let mut root = Root::prepared(&[], &format!("{}mode: userspace\n", support::CONFIG_TEXT));
    root.set("FAKE_EXITS", "1");
    let ran = json(&root, &["install", "--unattended", "--config", CONFIG]).expect(6);
    let last = lines(&ran).pop().unwrap();
    assert_eq!(last["outcome"], "failed", "{last}");
}

mod released {
    //! What readers of the first release look at.
    use super::*;

    #[derive(Deserialize)]
    pub struct Event {
        pub v: u32,
        pub ts: String,
        #[serde(rename = "type")]
        pub kind: String,
        pub outcome: Option<String>,
        pub exit_code: Option<u8>,
        pub summary: Option<String>,
        pub message: Option<String>,
    }

    #[derive(Deserialize)]
    pub struct Plan {
        pub schema: u32,
        pub rung: String,
        pub release: Option<String>,
        pub why: String,
        pub degraded: bool,
        pub steps: Vec<Step>,
        pub notes: Vec<String>,
    }

    #[derive(Deserialize)]
    pub struct Step {
        #[serde(rename = "do")]
        pub what: String,
        pub why: String,
    }

    #[derive(Deserialize)]
    pub struct Status {
        pub v: u32,
        pub outcome: String,
        pub exit_code: u8,
        pub summary: String,
        pub mode: String,
        pub kernel: String,
        pub module_loaded: bool,
        pub held: Option<String>,
        pub drift: Vec<String>,
    }

    #[derive(Deserialize)]
    pub struct Doctor {
        pub v: u32,
        pub exit_code: u8,
        pub checks: Vec<Check>,
    }

    #[derive(Deserialize)]
    pub struct Check {
        pub name: String,
        pub ok: bool,
        pub evidence: String,
        pub cause: Option<String>,
        pub remedy: Option<String>,
    }

    #[derive(Deserialize)]
    pub struct Module {
        pub module: Value,
        pub release: Option<String>,
        pub findings: Vec<Value>,
        pub verdict: Option<Value>,
    }
}

#[test]
fn readers_of_the_first_release_still_understand_it() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return;
    }
    for name in ["events.jsonl", "rollback.jsonl", "refused.jsonl"] {
        let events = old::<released::Event>(name);
        assert!(events.iter().all(|e| e.v == 1 && !e.ts.is_empty()), "{name}");
        let last = events.last().expect("an end");
        assert!(last.kind == "end" && last.exit_code.is_some() && last.outcome.is_some() && last.summary.is_some());
    }
    assert!(old::<released::Event>("refused.jsonl").iter().any(|e| e.kind == "error" && e.message.is_some()));
    let plan = old::<released::Plan>("plan-command.json").pop().expect("a plan");
    assert!(plan.schema == 1 && plan.rung == "kernel" && !plan.degraded && !plan.why.is_empty());
    assert!(plan.release.is_some() && !plan.notes.is_empty());
    assert!(plan.steps.iter().all(|s| !s.what.is_empty() && !s.why.is_empty()));
    let status = old::<released::Status>("status.json").pop().expect("a status");
    assert_eq!((status.v, status.exit_code, status.outcome.as_str(), status.mode.as_str()), (1, 0, "done", "kernel"));
    assert!(status.module_loaded && status.held.is_some() && status.drift.is_empty());
    assert!(!status.kernel.is_empty() && !status.summary.is_empty());
    let doctor = old::<released::Doctor>("doctor.json").pop().expect("a diagnosis");
    assert_eq!((doctor.v, doctor.exit_code), (1, 0));
    for name in ["installation", "module", "tunnel", "container", "packet filter", "drift"] {
        let check = doctor.checks.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("{name}"));
        assert!(check.ok && !check.evidence.is_empty() && check.cause.is_none() && check.remedy.is_none());
    }
    let module = old::<released::Module>("module.json").pop().expect("a module");
    assert!(module.module.is_object() && module.release.is_none() && module.findings.is_empty());
    assert!(module.verdict.is_none());
}

#[test]
fn quiet_tells_the_result_and_what_is_wrong() {
    let root = Root::fresh();
    let ran = root.run(&["--unattended", "--config", CONFIG, "--quiet"]).expect(0);
    assert_eq!((ran.out.lines().count(), ran.err.as_str()), (1, ""), "{ran:?}");
    let ran = root.run(&["resume", "-q"]).expect(0);
    assert_eq!(ran.out, "done: AmneziaWG runs in kernel mode on 6.12.50-0-lts\n");
    let ran = root.run(&["status", "-q"]).expect(0);
    assert!(ran.out.starts_with("State:     done: ") && !ran.out.contains("Kernel:"), "{}", ran.out);
    root.write("/etc/modules-load.d/awg-install.conf", "");
    let ran = root.run(&["status", "-q"]).expect(0);
    assert!(ran.out.contains("Drift:     write /etc/modules-load.d/awg-install.conf"), "{}", ran.out);
    let ran = root.run(&["doctor", "-q"]).expect(10);
    assert!(ran.out.contains("FAIL drift") && !ran.out.contains("ok   "), "{}", ran.out);
    let ran = root.run(&["install", "-q", "--yes", "--config", "/root/absent"]).expect(3);
    assert!(ran.out.is_empty() && ran.err.contains("/root/absent"), "{ran:?}");
}

/// What the examples were made from has not gone another way since.
#[test]
fn a_second_run_says_so_in_its_last_document() {
    let root = Root::installed("");
    let last = lines(&json(&root, &["install", "--unattended", "--config", CONFIG]).expect(0)).pop().unwrap();
    assert_eq!((&last["type"], &last["outcome"]), (&"end".into(), &"unchanged".into()));
}
