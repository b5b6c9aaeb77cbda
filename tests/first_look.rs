//! The script that shows a newcomer the whole job must never end in an error.

mod support;

use std::process::Command;

#[test]
fn first_look_shows_the_whole_job() {
    let script = support::repository().join("scripts/first-look");
    let ran = Command::new(script).arg("--binary").arg(support::program()).output().expect("a shell");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    for said in ["done: AmneziaWG runs in kernel mode", "nothing to do", "/opt/wg-easy/compose.yaml", "  apk --wait"] {
        assert!(out.contains(said), "{said:?} in\n{out}");
    }
    assert!(err.is_empty(), "{err}");
}
