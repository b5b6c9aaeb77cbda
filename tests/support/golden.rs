//! Files that hold what is expected, compared as text; UPDATE_GOLDEN=1 writes them anew.

use std::fs;

use serde_json::{Value, json};

use super::repository;

/// Compares with the file at `path` (from the top of the repository).
#[track_caller]
pub fn assert_golden(path: &str, got: &str) {
    let place = repository().join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        fs::write(&place, got).expect("the file");
        return;
    }
    let wanted = fs::read_to_string(&place).unwrap_or_else(|e| panic!("{path}: {e}; UPDATE_GOLDEN=1 makes it"));
    if wanted != got {
        let line = wanted.lines().zip(got.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| wanted.lines().count().min(got.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_string();
        panic!(
            "{path}: line {} differs; if that is meant, UPDATE_GOLDEN=1 writes it anew\n  committed: {}\n  now:       {}",
            line + 1,
            at(&wanted),
            at(got)
        );
    }
}

pub fn pretty(value: &impl serde::Serialize) -> String {
    format!("{:#}\n", serde_json::to_value(value).expect("plain data"))
}

/// Takes out what another run would have otherwise: clocks, durations, the number of the process.
pub fn normal(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "ts" | "at" | "started" | "updated" if value.is_string() => *value = json!("2026-01-02T03:04:05Z"),
                    "run_id" => *value = json!("6957e0a5-4d2"),
                    "ms" => *value = json!(42),
                    _ => normal(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(normal),
        // A note says since when a kernel is held: since today.
        Value::String(text) => {
            if let Some((before, (_, after))) = text.split_once("held since ").map(|(b, a)| (b, a.split_at(10))) {
                *text = format!("{before}held since 2026-01-02{after}");
            }
        }
        _ => {}
    }
}
