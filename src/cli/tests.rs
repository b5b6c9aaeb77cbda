use std::collections::BTreeSet;

use super::*;
use crate::config::{LeafKind, Sources, load, render_example};

fn run(line: &[&str]) -> Result<Cli, Exit> {
    parse([&["awg-install"], line].concat())
}

fn refused(line: &[&str]) -> String {
    let exit = run(line).unwrap_err();
    assert_eq!(exit.code, 2, "{line:?}");
    exit.text
}

fn shown(line: &[&str]) -> String {
    let exit = run(line).unwrap_err();
    assert_eq!(exit.code, 0, "{line:?}: {}", exit.text);
    exit.text
}

#[test]
fn clap_finds_no_fault() {
    help::command().debug_assert();
    help::manual(true).debug_assert();
}

#[test]
fn every_command_is_reached() {
    let command = |line: &[&str]| run(line).unwrap_or_else(|exit| panic!("{}", exit.text)).command;
    assert_eq!(command(&[]), Command::Wizard);
    assert_eq!(command(&["--unattended"]), Command::Install(InstallArgs::default()));
    assert_eq!(command(&["install"]), Command::Install(InstallArgs::default()));
    assert_eq!(command(&["plan", "--detailed-exitcode"]), Command::Plan(PlanArgs { detailed_exitcode: true }));
    assert_eq!(command(&["resume"]), Command::Resume);
    assert_eq!(command(&["status", "--wait"]), Command::Status(StatusArgs { wait: true, detailed_exitcode: false }));
    assert_eq!(command(&["rollback", "--purge-data"]), Command::Rollback(RollbackArgs { purge_data: true }));
    assert_eq!(command(&["doctor"]), Command::Doctor(DoctorArgs::default()));
    let archive = DoctorArgs { support_archive: Some("/a".into()) };
    assert_eq!(command(&["doctor", "--support-archive", "/a"]), Command::Doctor(archive));
    refused(&["doctor", "--support-archive", "/a", "--dry-run"]);
    assert_eq!(command(&["backup"]), Command::Backup(BackupArgs::default()));
    assert_eq!(command(&["backup", "--to", "b"]), Command::Backup(BackupArgs { to: Some("b".into()) }));
    let restore = RestoreArgs { file: "/b".into(), identity: Some("/k".into()) };
    assert_eq!(command(&["restore", "/b", "--identity", "/k"]), Command::Restore(restore));
    refused(&["restore"]);
    refused(&["restore", "/b", "--dry-run"]);
    assert_eq!(
        command(&["render", "compose"]),
        Command::Render(RenderArgs { what: RenderWhat::Compose, url: None, sha256: None })
    );
    assert_eq!(command(&["module", "inspect", "/m.ko"]), Command::ModuleInspect("/m.ko".into()));
    let create = BundleCreateArgs { file: "/b".into(), sign: Some("/k".into()), no_image: true };
    assert_eq!(command(&["bundle", "create", "/b", "--sign", "/k", "--no-image"]), Command::BundleCreate(create));
    let sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let verify = BundleVerifyArgs { file: "b".into(), sha256: sum.parse().ok(), public_key: Vec::new() };
    assert_eq!(command(&["bundle", "verify", "b", "--sha256", sum]), Command::BundleVerify(verify));
    refused(&["bundle", "verify", "b", "--sha256", "abc"]);
    refused(&["bundle", "create", "/b", "--dry-run"]);
    assert_eq!(command(&["completions", "bash"]), Command::Completions(Shell::Bash));
    assert_eq!(command(&["man"]), Command::Man);
}

#[test]
fn dry_run_is_the_plan_and_never_more() {
    for line in [&["--dry-run"][..], &["install", "--dry-run"], &["--dry-run", "--unattended"], &["plan", "--dry-run"]]
    {
        assert_eq!(run(line).unwrap().command, Command::Plan(PlanArgs::default()), "{line:?}");
    }
    assert!(refused(&["rollback", "--dry-run"]).contains("--dry-run is for install"));
    assert!(refused(&["--dry-run", "resume"]).contains("--dry-run is for install"));
    assert_eq!(
        run(&["plan", "--detailed-exitcode", "--dry-run"]).unwrap().command,
        Command::Plan(PlanArgs { detailed_exitcode: true })
    );
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    let globals =
        ["--config", "/c.yaml", "--output", "json", "-vv", "--color", "never", "--root", "/r", "-y", "--no-reboot"];
    let before = run(&[&globals[..], &["status"]].concat()).unwrap();
    let after = run(&[&["status"], &globals[..]].concat()).unwrap();
    assert_eq!(before, after);
    assert_eq!((before.globals.output, before.globals.verbose, before.globals.yes), (Output::Json, 2, true));
    assert_eq!((before.globals.color, before.globals.no_reboot), (Color::Never, true));
    assert_eq!(before.globals.root, Some("/r".into()));
    refused(&["-q", "-v", "status"]);
    refused(&["--output", "xml"]);
}

#[test]
fn every_key_is_a_flag_that_sets_it() {
    for leaf in leaves() {
        let Some(flag) = leaf.flag() else { continue };
        let value = match (&leaf.kind, &leaf.default, &leaf.example) {
            (LeafKind::Choice(choices), ..) => choices.last().unwrap().word.clone(),
            (LeafKind::List, _, Some(list)) => {
                list.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect::<Vec<_>>().join(",")
            }
            (_, _, Some(example)) => example.as_str().unwrap().to_string(),
            (_, Some(default), None) => default.as_str().map_or_else(|| default.to_string(), str::to_string),
            (_, None, None) => panic!("{leaf:?} has neither default nor example"),
        };
        for line in
            [vec!["plan".into(), format!("--{flag}={value}")], vec![format!("--{flag}={value}"), "install".into()]]
        {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let given = run(&line).unwrap_or_else(|exit| panic!("{}", exit.text)).leaves;
            assert_eq!(given.into_iter().collect::<Vec<_>>(), [(leaf.path.clone(), value.clone())]);
        }
        let apart = run(&["plan", &format!("--{flag}"), &value]);
        assert_eq!(apart.is_ok(), leaf.kind != LeafKind::Boolean, "{flag}");
    }
}

#[test]
fn help_says_what_a_backup_holds() {
    let backup = shown(&["backup", "--help"]);
    assert!(
        backup.split_whitespace().collect::<Vec<_>>().join(" ").contains("private key of every client"),
        "{backup}"
    );
    // Its lines are as long as the terminal lets them be.
    let restore = shown(&["restore", "--help"]);
    assert!(restore.split_whitespace().collect::<Vec<_>>().join(" ").contains("is backed up first"), "{restore}");
}

#[test]
fn a_switch_without_a_value_is_on() {
    let given = run(&["--accept-plain-wireguard", "--kernel-hold=false", "plan"]).unwrap().leaves;
    assert_eq!(given["accept_plain_wireguard"], "true");
    assert_eq!(given["kernel.hold"], "false");
    let config = load(&Sources { flags: given, ..Sources::default() }).unwrap().config;
    assert!(config.accept_plain_wireguard && !config.kernel.hold);
}

#[test]
fn wrong_values_are_the_configurations_business() {
    let given = run(&["plan", "--mode", "fast"]).unwrap().leaves;
    let err = load(&Sources { flags: given, ..Sources::default() }).unwrap_err();
    assert_eq!((err.exit_code(), err.message.contains("flag --mode: mode: takes one of")), (3, true));
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for line in [
        &["--server-password", "hunter2hunter2"][..],
        &["--server-password=hunter2hunter2"],
        &["install", "--server-password", "hunter2hunter2"],
        &["--server-password"],
        &["plan", "--mode", "auto", "--server-password=hunter2hunter2", "--unattended"],
    ] {
        let text = refused(line);
        for way in ["--server-password-file FILE", "AWG_SERVER_PASSWORD", "--server-password-file -"] {
            assert!(text.contains(way), "{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = refused(&["upgrade", "--container-registry-password", "hunter2"]);
    for way in ["--container-registry-password-file FILE", "AWG_CONTAINER_REGISTRY_PASSWORD"] {
        assert!(text.contains(way) && !text.contains("hunter2"), "{text}");
    }
    for line in [&["--server-pasword=hunter2hunter2"][..], &["--server-pasword", "hunter2hunter2"]] {
        assert!(!refused(line).contains("hunter2"));
    }
    assert_eq!(run(&["install", "--server-password-file", "-"]).unwrap().leaves["server.password_file"], "-");
}

#[test]
fn configuration_flags_are_refused_where_they_would_do_nothing() {
    for command in
        [&["status"][..], &["rollback"], &["resume"], &["man"], &["render", "schema"], &["module", "inspect", "x"]]
    {
        let line = [command, &["--server-port", "1"]].concat();
        assert!(refused(&line).contains("--server-port configures an installation"), "{line:?}");
    }
}

#[test]
fn mistakes_are_usage_errors_with_a_hint() {
    assert!(refused(&["--sever-port", "1"]).contains("--server-port"));
    assert!(refused(&["instal"]).contains("install"));
    assert!(refused(&["render"]).contains("<WHAT>"));
    refused(&["module"]);
    refused(&["plan", "--server-port", "1", "--server-port", "2"]);
    refused(&["status", "extra"]);
}

#[test]
fn help_is_short_and_long() {
    let (short, long) = (shown(&["-h"]), shown(&["--help"]));
    assert!(!short.contains("--kernel-release") && short.contains("--config <FILE>"));
    assert!(long.contains("--kernel-release") && long.contains("plain WireGuard, which can be recognised"));
    assert!(!long.contains("--server-password ") && long.contains("AWG_SERVER_PASSWORD"));
    assert!(short.lines().all(|line| line.chars().count() <= 100));
    for command in [
        "install",
        "plan",
        "resume",
        "status",
        "backup",
        "restore",
        "rollback",
        "render",
        "module",
        "completions",
        "man",
    ] {
        assert!(short.contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn help_and_manual_list_the_exit_codes() {
    let one_line = |text: String| text.replace('\\', "").split_whitespace().collect::<Vec<_>>().join(" ");
    let manual = String::from_utf8(man().unwrap()).unwrap();
    for text in [one_line(shown(&["--help"])), one_line(manual)] {
        for code in [
            "0 done, nothing to do, or reboot scheduled and the rest follows by itself",
            "2 usage",
            "3 configuration invalid",
            "4 host not supported or preflight failed, nothing changed",
            "5 an artifact that was named explicitly failed verification (digest, signature, wrong kernel), nothing changed",
            "6 a step failed; the receipt says where; running again resumes",
            "7 reboot needed and left to the operator (--no-reboot)",
            "8 running, but below the top rung of its ladder (kernel on a supported Alpine, userspace elsewhere) without \
             having been asked for that rung",
            "9 another run holds the lock",
            "10 changes pending or drift (plan, status; only with --detailed-exitcode)",
        ] {
            assert!(text.contains(code), "{code}\n{text}");
        }
    }
}

#[test]
fn version_names_commit_and_target() {
    let text = shown(&["--version"]);
    assert!(text.starts_with(concat!("awg-install ", env!("CARGO_PKG_VERSION"), " (commit ")), "{text}");
    assert!(text.contains(", target ") && text.ends_with(")\n"), "{text}");
    // The quick answer is clap's own.
    assert_eq!(text, shown(&["--version", "plan"]));
    assert_eq!(text, shown(&["-V"]));
}

#[test]
fn completions_and_manual_know_every_flag() {
    let manual = String::from_utf8(man().unwrap()).unwrap().replace("\\-", "-");
    assert!(manual.contains(".TH awg-install 1"), "{}", &manual[..200]);
    assert!(manual.contains("\nawg-install rollback\n") && !manual.contains("awg-install-"), "{manual}");
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = String::from_utf8(completions(shell)).unwrap();
        for flag in leaves().iter().filter_map(|leaf| leaf.flag()) {
            assert!(script.contains(&flag) && manual.contains(&format!("--{flag}")), "{shell} {flag}");
        }
        assert!(!script.contains("--server-password "), "{shell}");
    }
}

/// Flags of the program and flags of the configuration share one name space.
#[test]
fn no_flag_has_two_meanings() {
    let mut seen = BTreeSet::new();
    for arg in help::command().get_arguments() {
        assert!(arg.get_long().is_none_or(|long| seen.insert(long.to_string())), "{arg}");
    }
    assert!(seen.len() > leaves().len() && render_example().contains("--server-port"));
}
