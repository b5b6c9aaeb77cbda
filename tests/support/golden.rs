//! Files that hold what is expected, compared as text; UPDATE_GOLDEN=1 writes them anew.

use std::fs;

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
