//! Plans for many hosts. `tests/facts` holds recorded facts, and hosts that differ from a recorded one
//! in a few things; `tests/plans` holds what is planned there, or the error that refuses.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Once;

use awg_install::choice::Aim;
use awg_install::config::{Config, Sources, load};
use awg_install::facts::{Facts, Reach};
use awg_install::host::Host;
use awg_install::plan::plan;
use awg_install::receipt::{Proven, Receipt, RuledOut};
use awg_install::run::look;
use serde_json::{Value, json};
use support::golden::{assert_golden, pretty};
use support::{Root, repository};

const SERVER: &str = "server: {host: vpn.example.org, username: admin, password: correct horse battery}\n";
const MODULE: &str = "module: {source: file, path: /root/amneziawg.ko}\n";

#[test]
fn recorded_facts() {
    record_all();
}

/// The hosts whose facts are recorded from a prepared root.
fn record_all() {
    let alpine = format!("{SERVER}{MODULE}");
    let fresh = Root::prepared(&[], &alpine);
    record("alpine-3.22-virt", &fresh, &alpine);
    fresh.install().expect(0);
    fresh.run(&["resume"]).expect(0);
    record("alpine-3.22-finished", &fresh, &alpine);
    record("debian-12-docker", &Root::prepared(&["--debian"], SERVER), SERVER);
}

fn record(name: &str, root: &Root, text: &str) {
    let host = Host::new(Some(root.dir()), BTreeMap::new()).unwrap();
    let (mut facts, _) = look(&host, &config(text), Reach::Local, None).unwrap();
    // It was the program, and not this test, that installed itself.
    facts.program_installed = host.exists("/usr/local/sbin/awg-install");
    let receipt = Receipt::load(&host).unwrap();
    let proven = receipt.as_ref().and_then(|r| r.proven.clone());
    let mut recorded = json!({"config": text, "facts": facts, "proven": proven});
    if let Some(receipt) = receipt {
        recorded["written"] = json!(receipt.written);
    }
    assert_golden(&format!("tests/facts/{name}.json"), &pretty(&recorded));
}

#[test]
fn plans_of_many_hosts() {
    let names = cases();
    assert!(names.len() >= 20, "{names:?}");
    for name in &names {
        let case = Case::read(name);
        let first = case.outcome();
        assert_eq!(first, case.outcome(), "{name}: the same facts, the same plan");
        assert_golden(&format!("tests/plans/{name}.json"), &pretty(&first));
    }
    let planned: BTreeSet<String> = names_in("tests/plans");
    assert_eq!(names, planned, "a plan for each host, and no other");
}

#[test]
fn a_finished_host_needs_nothing() {
    let outcome = Case::read("alpine-3.22-finished").outcome();
    assert_eq!(outcome["steps"], json!([]));
}

/// A host refused is told why and what to do.
#[test]
fn refusals_have_a_remedy() {
    let mut refused = 0;
    for name in cases() {
        let outcome = Case::read(&name).outcome();
        if let Some(error) = outcome.get("error") {
            refused += 1;
            assert!(error["remedy"].is_string(), "{name}: {error:#}");
        }
    }
    assert!(refused >= 5, "{refused} hosts are refused");
}

/// Nothing is planned after a reboot that had to happen before it, and what is started once is verified first.
#[test]
fn the_order_that_every_kernel_switch_keeps() {
    for name in cases() {
        let outcome = Case::read(&name).outcome();
        let Some(steps) = outcome["steps"].as_array() else { continue };
        let place = |kind: &str| steps.iter().position(|s| s["do"] == kind);
        let Some(reboot) = place("reboot") else { continue };
        assert!(place("arm").is_some_and(|arm| arm < reboot), "{name}");
        for before in ["kernel", "module", "build"] {
            assert!(place(before).is_none_or(|p| p < place("arm").unwrap()), "{name}: {before}");
        }
        for after in ["default", "load", "prove", "compose", "ready"] {
            assert!(place(after).is_some_and(|p| p > reboot), "{name}: {after}");
        }
        assert_eq!(place("finish"), Some(steps.len() - 1), "{name}");
    }
}

/// A host to plan for.
struct Case {
    config: Config,
    facts: Facts,
    receipt: Option<Receipt>,
}

impl Case {
    fn read(name: &str) -> Case {
        let value = file(name);
        let (mut text, mut facts, mut proven) =
            (value["config"].clone(), value["facts"].clone(), value["proven"].clone());
        let mut written = value["written"].clone();
        if let Some(base) = value["like"].as_str() {
            let base = file(base);
            (facts, proven, written) = (base["facts"].clone(), base["proven"].clone(), base["written"].clone());
            merge(&mut facts, &value["differs"]);
            if text.is_null() {
                text = base["config"].clone();
            }
        }
        let facts = serde_json::from_value(facts).unwrap_or_else(|e| panic!("{name}: {e}"));
        let ruled = value["ruled_out"].as_object().into_iter().flatten();
        let ruled_out: Vec<RuledOut> = ruled
            .map(|(release, why)| RuledOut {
                release: release.clone(),
                reason: why.as_str().unwrap().into(),
                boot: true,
            })
            .collect();
        let proven: Option<Proven> = serde_json::from_value(proven).expect("what was proven");
        let mut receipt =
            (proven.is_some() || !ruled_out.is_empty()).then(|| Receipt { ruled_out, proven, ..Receipt::default() });
        if let (Some(receipt), false) = (&mut receipt, written.is_null()) {
            // It came to its end.
            receipt.written = serde_json::from_value(written).expect("hashes by path");
            receipt.begin("ready", Vec::new());
            receipt.finish("ready");
        }
        Case { config: config(text.as_str().expect("a configuration")), facts, receipt }
    }

    fn outcome(&self) -> Value {
        match plan(&self.config, &self.facts, self.receipt.as_ref(), Aim::Install) {
            Ok(plan) => serde_json::to_value(plan).expect("plain data"),
            Err(error) => json!({"error": {"exit_code": error.exit_code(), "message": error.message,
                "cause": error.cause, "remedy": error.remedy}}),
        }
    }
}

fn config(text: &str) -> Config {
    load(&Sources { file: Some(("config".into(), text.into())), ..Sources::default() }).expect("a configuration").config
}

fn file(name: &str) -> Value {
    // Whoever writes the expectations anew wants those of the facts as they are now.
    static ANEW: Once = Once::new();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        ANEW.call_once(record_all);
    }
    let path = repository().join(format!("tests/facts/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases() -> BTreeSet<String> {
    names_in("tests/facts")
}

fn names_in(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(repository().join(directory)).expect("a directory").flatten();
    entries.filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".json")?.to_string())).collect()
}

/// RFC 7386: objects are merged, null removes, anything else replaces. An object also reaches into a list, by
/// number.
fn merge(into: &mut Value, patch: &Value) {
    if let (Value::Array(list), Value::Object(patch)) = (&mut *into, patch) {
        for (index, value) in patch {
            merge(&mut list[index.parse::<usize>().expect("a number")], value);
        }
        return;
    }
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let map = into.as_object_mut().expect("an object");
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
