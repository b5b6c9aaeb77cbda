//! What other programs may rely on: the configuration's schema and annotated example, and one example
//! each of facts, plan, receipt and events, made by a run on a prepared root.

mod support;

use std::collections::BTreeMap;

use awg_install::config::{self, Sources};
use awg_install::facts::{Facts, Reach};
use awg_install::host::Host;
use awg_install::plan::Plan;
use awg_install::receipt::Receipt;
use awg_install::run::look;
use serde_json::{Value, json};
use support::golden::{assert_golden, normal, pretty};
use support::{CONFIG, PASSWORD, Root, repository};

const CONTRACT: &str = "tests/contract";

#[test]
fn configuration() {
    assert_golden(&format!("{CONTRACT}/config.schema.json"), &format!("{:#}\n", config::schema()));
    let example = config::render_example();
    assert_golden(&format!("{CONTRACT}/config.example.yaml"), &example);

    config::load(&Sources { file: Some(("example".into(), example.clone())), ..Sources::default() })
        .expect("the example as it is");
    let schema = serde_json::from_str(&committed("config.schema.json")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let yaml: Value = serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(&example).unwrap()).unwrap();
    let faults: Vec<String> = validator.iter_errors(&yaml).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(faults.is_empty(), "{faults:?}");
    for wrong in [json!({"servr": {}}), json!({"server": {"port": 0}}), json!({"mode": "turbo"})] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn facts_plan_receipt_and_events() {
    examples();
}

fn examples() {
    let root = Root::fresh();
    let host = Host::new(Some(root.dir()), BTreeMap::new()).unwrap();
    let text = root.read(CONFIG).replace("password_file: /root/password", &format!("password: {PASSWORD}"));
    let config = config::load(&Sources { file: Some(("c".into(), text)), ..Sources::default() }).unwrap().config;
    let (facts, _) = look(&host, &config, Reach::Local, None).unwrap();
    assert_golden(&format!("{CONTRACT}/facts.json"), &pretty(&facts));
    let plan = awg_install::plan::plan(&config, &facts, None, awg_install::choice::Aim::Install).unwrap();
    assert_golden(&format!("{CONTRACT}/plan.json"), &pretty(&plan));

    // Boundaries are counted, so that what goes on beside other steps ends at the same place every time.
    let counted = root.dir().join(".fakeroot/boundaries").display().to_string();
    let args = ["--unattended", "--config", CONFIG, "--output", "json"];
    let first = root.run_with(&args, &[("AWG_TEST_BOUNDARIES_IN", &counted)], "").expect(0);
    let mut receipt = root.json("/var/lib/awg-install/receipt.json");
    normal(&mut receipt);
    assert_golden(&format!("{CONTRACT}/receipt.json"), &format!("{receipt:#}\n"));
    let second = root.run(&["resume", "--output", "json"]).expect(0);
    let events: String = format!("{}{}", first.out, second.out)
        .lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            normal(&mut event);
            format!("{event}\n")
        })
        .collect();
    // The day is that of the run.
    let today = &awg_install::receipt::timestamp()[..10];
    let events = events.replace(&format!("is held since {today}"), "is held since 2026-01-02");
    assert_golden(&format!("{CONTRACT}/events.jsonl"), &events);
}

/// What is committed can be read by this release, and means the same when it is written again.
#[test]
fn committed_examples_can_be_read() {
    fn round<T: serde::de::DeserializeOwned + serde::Serialize>(name: &str) {
        let text = committed(name);
        let value: T = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(pretty(&value), text, "{name}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        examples();
    }
    round::<Facts>("facts.json");
    round::<Plan>("plan.json");
    round::<Receipt>("receipt.json");
    for line in committed("events.jsonl").lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(event["v"] == 1 && event["ts"].is_string() && event["type"].is_string(), "{line}");
    }
    for name in ["facts.json", "plan.json", "receipt.json", "events.jsonl"] {
        assert!(!committed(name).contains(PASSWORD), "{name}");
    }
}

fn committed(name: &str) -> String {
    let path = repository().join(CONTRACT).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
