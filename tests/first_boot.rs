//! User-data, and the password that a host makes for itself.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use awg_install::config::{Sources, load};
use awg_install::yaml;
use serde_json::Value;
use support::{CONFIG, PASSWORD, Root};

const SERVER: &str = "mode: userspace\nserver:\n  host: vpn.example.org\n  username: admin\n  web_port: 51900\n";
const OWN: &str = "server:\n  host: vpn.example.org\n  username: admin\n  generate_password: true\nmode: userspace\n";
const FIRST: &str = "/var/lib/awg-install/first-password";

#[test]
fn cloud_init_brings_configuration_and_script() {
    let root = Root::prepared(&[], SERVER);
    let args = ["render", "cloud-init", "--config", CONFIG, "--url", "https://example.org/awg-install-1.0/x86_64"];
    let text = root.run(&args).expect(0).out;
    assert!(text.starts_with("#cloud-config\n"));
    let document = yaml::parse(&text).expect("YAML");
    let files = document["write_files"].as_array().unwrap();
    assert_eq!((&files[0]["path"], &files[0]["permissions"]), (&"/root/awg-install.yaml".into(), &"0600".into()));
    let config = files[0]["content"].as_str().unwrap();
    same_as_here(config);
    let script = files[1]["content"].as_str().unwrap();
    assert_eq!(document["runcmd"], serde_json::json!([["sh", files[1]["path"]]]));
    assert!(!script.contains("vpn.example.org") && shell(&["-n"], script).status.success(), "{script}");
}

#[test]
fn tiny_cloud_gets_one_script() {
    let root = Root::prepared(&[], SERVER);
    let text = root.run(&["render", "tiny-cloud", "--config", CONFIG]).expect(0).out;
    assert!(text.starts_with("#!/bin/sh\n") && shell(&["-n"], &text).status.success(), "{text}");
    let config = text.split("'END OF CONFIGURATION'").nth(1).unwrap().split_once('\n').unwrap().1;
    same_as_here(config.split("END OF CONFIGURATION").next().unwrap());
}

/// What is given and kept elsewhere is not handed to another host; nor is what only this run can read.
#[test]
fn user_data_holds_no_secret() {
    let root = Root::prepared(&[], SERVER);
    for what in ["cloud-init", "tiny-cloud"] {
        let env = [("AWG_SERVER_PASSWORD", PASSWORD), ("AWG_CONTAINER_REGISTRY_PASSWORD", "a registry's token")];
        let args = ["render", what, "--config", CONFIG, "--container-registry-username", "reader"];
        let text = root.run_with(&args, &env, "").expect(0).out;
        assert!(
            !text.contains(PASSWORD) && !text.contains("token") && text.contains("generate_password: true"),
            "{text}"
        );
        let args = ["render", what, "--config", CONFIG, "--server-password-file", "/root/password"];
        let text = root.run(&args).expect(0).out;
        assert!(text.contains("password_file: /root/password") && !text.contains("generate_password"), "{text}");
    }
    root.run(&["render", "cloud-init"]).expect(3).says("server.host: missing");
    root.run(&["render", "cloud-init", "--config", CONFIG, "--url", "ftp://x"]).expect(2).says("no http(s) address");
    root.run(&["render", "compose", "--config", CONFIG, "--url", "https://x"]).expect(2).says("--url is for user-data");
}

/// The script as a first-boot tool would run it, with directories of its own and stand-ins for what it fetches with.
#[test]
fn the_script_fetches_verifies_runs_once_and_always_ends_well() {
    let root = Root::prepared(&[], SERVER);
    let program = "#!/bin/sh\necho \"ran: $*\"\nexit $(cat code)\n";
    let sha256 = awg_install::host::files::sha256(program.as_bytes());
    let url = ["--url", "https://example.org/p", "--sha256", &sha256];
    let text = root.run(&[&["render", "tiny-cloud", "--config", CONFIG], &url[..]].concat()).expect(0).out;
    let played = |code: &str, served: &str| {
        let host = Root::empty();
        for (name, text) in [
            ("id", "echo 0".to_string()),
            ("sleep", "exit 0".to_string()),
            (
                "wget",
                format!(
                    "while [ $# -gt 1 ]; do [ \"$1\" != -O ] || cp {} \"$2\"; shift; done",
                    host.path("/served").display()
                ),
            ),
        ] {
            host.write(&format!("/bin/{name}"), &format!("#!/bin/sh\n{text}\n"));
            std::fs::set_permissions(host.path(&format!("/bin/{name}")), std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        host.write("/served", served);
        host.write("/code", code);
        host.write("/root/there", "");
        let dir = host.dir().display().to_string();
        let text = text
            .replace("/root/", &format!("{dir}/root/"))
            .replace("/var/lib/awg-install/", &format!("{dir}/state/"))
            .replace("PATH=", &format!("PATH={dir}/bin:"));
        let ran = shell_in(&dir, &text);
        (host, text, ran)
    };
    for (code, says) in [("0", "awg-install status --wait"), ("6", "ended with 6")] {
        let (host, text, ran) = played(code, program);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let call = format!("ran: install --unattended --config {}", host.path("/root/awg-install.yaml").display());
        assert!(ran.status.success() && said.contains(&call) && said.contains(says), "{said}\n{ran:?}");
        assert_eq!(host.mode("/root/awg-install.yaml"), 0o600);
        same_as_here(&host.read("/root/awg-install.yaml"));
        host.write("/state/receipt.json", "{}");
        let again = shell_in(&host.dir().display().to_string(), &text);
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(again.status.success() && said.contains("begun already") && !said.contains("ran:"), "{said}");
    }
    let (host, _, ran) = played("0", "another program");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && said.contains("nothing was done") && !said.contains("ran:"), "{said}");
    assert!(!host.exists("/root/awg-install"));
}

#[test]
fn a_password_that_is_made_on_the_host_is_shown_once() {
    let root = Root::prepared(&[], OWN);
    let installed = root.install().expect(0).says("`awg-install password` shows it, once");
    assert_eq!(root.mode(FIRST), 0o600);
    let password = root.read(FIRST).trim_end().to_string();
    assert!(password.len() == 24 && !installed.out.contains(&password));
    assert_eq!(root.tree().files_with(&password), [FIRST]);
    root.install().expect(0).says("nothing to do");
    assert!(root.run(&["status"]).expect(0).out.contains("Drift:     none"));
    let shown = root.run(&["password", "--output", "json"]).expect(0);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&shown["username"], &shown["password"]), (&"admin".into(), &password.as_str().into()));
    assert_eq!(root.tree().files_with(&password), Vec::<String>::new());
    root.run(&["password"]).expect(4).says("was shown already");
    root.install().expect(0).says("nothing to do");
    assert!(!root.exists(FIRST));
}

/// Until the server has taken it over, the same password is used, whatever happens in between.
#[test]
fn it_stays_the_same_over_a_run_that_was_killed() {
    let fresh = Root::prepared(&[], OWN);
    for n in [2, 4, 6, 8, 30, 60] {
        let root = fresh.copy();
        root.run_with(&["--unattended", "--config", CONFIG], &[("AWG_TEST_KILL_AT", &n.to_string())], "");
        let before = root.exists(FIRST).then(|| root.read(FIRST));
        root.install().expect(0);
        let after = root.read(FIRST);
        assert!(before.is_none_or(|b| b == after), "killed at {n}");
        assert_eq!(root.tree().files_with(after.trim_end()), [FIRST]);
        root.run(&["rollback", "--purge-data"]).expect(0);
        assert!(root.tree().files_with(after.trim_end()).is_empty());
    }
}

/// The log of what has started it ends with how it ended, after the restart.
#[test]
fn the_first_boot_tools_log_hears_of_the_end() {
    let root = Root::fresh();
    root.write("/var/log/user-data.log", "begun\n");
    root.install().expect(0).says("scheduled");
    assert_eq!(root.read("/var/log/user-data.log"), "begun\n");
    root.run(&["resume"]).expect(0);
    let log = root.read("/var/log/user-data.log");
    assert_eq!(log, "begun\nawg-install: done: AmneziaWG runs in kernel mode on 6.12.50-0-lts\n");
    root.run(&["resume"]).expect(0);
    assert_eq!(root.read("/var/log/user-data.log"), log);
    assert!(!root.exists("/var/log/cloud-init-output.log"));
}

#[test]
fn a_password_that_is_given_is_not_written_down() {
    let root = Root::prepared(&[], OWN);
    let env = [("AWG_SERVER_PASSWORD", PASSWORD)];
    root.remove("/root/password");
    root.run_with(&["--unattended", "--config", CONFIG], &env, "").expect(0);
    assert_eq!(root.tree().files_with(PASSWORD), Vec::<String>::new());
    assert!(!root.exists(FIRST));
    let both = Root::prepared(&[], &OWN.replace("  generate", "  password_file: /root/password\n  generate"));
    both.install().expect(3).says("server.generate_password");
}

#[track_caller]
fn same_as_here(text: &str) {
    let read = |text: &str| {
        let sources = Sources { file: Some(("x".into(), text.into())), ..Sources::default() };
        load(&sources).unwrap_or_else(|e| panic!("{e}\n{text}")).config
    };
    let mut wanted = read(SERVER);
    wanted.server.generate_password = true;
    assert_eq!(read(text), wanted, "{text}");
}

fn shell(args: &[&str], script: &str) -> Output {
    let root = Root::empty();
    root.write("/script", script);
    Command::new("/bin/sh").args(args).arg(root.path("/script")).output().unwrap()
}

fn shell_in(dir: &str, script: &str) -> Output {
    Command::new("/bin/sh").args(["-c", script]).current_dir(dir).output().unwrap()
}
