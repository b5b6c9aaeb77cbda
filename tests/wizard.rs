//! The wizard and every other question, at a pseudo-terminal against prepared roots.

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use awg_install::choice::Aim;
use awg_install::config::Secret;
use awg_install::facts::Reach;
use awg_install::host::Host;
use awg_install::wizard::Answers;
use awg_install::{cli, plan, run, setup};
use support::golden::assert_golden;
use support::terminal::{Session, Terminal};
use support::tree::Tree;
use support::{CONFIG, CONFIG_TEXT, LTS, MODULE, PASSWORD, PASSWORD_FILE, Root, VIRT, module, repository};

const FLAGS: &[&str] = &["--module-source", "file", "--module-path", MODULE];
/// Where the question about the plan ends.
const PLAN: &str = " (no): ";
const COMPOSE: &str = "/opt/wg-easy/compose.yaml";
const NOTICE: &str = "/var/lib/awg-install/notice";
/// The program's own record, what the stand-ins keep, and the lock in memory.
const IGNORED: &[&str] = &["/.fakeroot", "/var/log/awg-install.log", "/run/awg-install.lock"];

/// A fresh host whose interface has this address; nothing is configured.
fn host_at(address: &str) -> Root {
    let root = Root::bare(&[]);
    root.write_bytes(MODULE, &module::good().bytes());
    let octets: Vec<u8> = address.split('.').map(|o| o.parse().expect("a number")).collect();
    let net = format!("00{:02X}{:02X}{:02X}", octets[2], octets[1], octets[0]);
    let gateway = net.replacen("00", "01", 1);
    let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT";
    let routes = format!(
        "{head}\neth0\t00000000\t{gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
         eth0\t{net}\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    );
    root.write("/proc/net/route", &routes);
    root.write("/proc/net/fib_trie", &format!("Main:\n  |-- {address}\n     /32 host LOCAL\n"));
    root
}

fn host() -> Root {
    host_at("203.0.113.7")
}

fn wizard(root: &Root, columns: u16) -> Terminal {
    Terminal::start(root, FLAGS, columns, &[])
}

/// Every question with Enter, and a password that is made up, as far as the plan.
fn defaults(terminal: &mut Terminal) -> &mut Terminal {
    terminal.question("Public name or address", "").question("Administrator's name", "");
    terminal.wait_for("Administrator's password").enter_hidden("");
    terminal
        .question("Who can open the admin page?", "")
        .question("UDP port", "")
        .question("What carries the tunnel?", "");
    terminal.wait_for(PLAN)
}

/// The same with a password of one's own.
fn with_password(terminal: &mut Terminal) -> &mut Terminal {
    terminal.question("Public name or address", "vpn.example.org").question("Administrator's name", "");
    terminal.wait_for("Administrator's password").enter_hidden(PASSWORD);
    terminal.wait_for("Once more").enter_hidden(PASSWORD);
    terminal
        .question("Who can open the admin page?", "")
        .question("UDP port", "")
        .question("What carries the tunnel?", "");
    terminal.wait_for(PLAN)
}

fn state(root: &Root) -> Tree {
    root.tree().without(IGNORED)
}

/// The password that a session has shown.
fn shown_password(session: &Session) -> String {
    let line = session.screen.lines().find_map(|l| l.strip_prefix("Password:   ")).expect("a password");
    line.trim().to_string()
}

fn snapshot(name: &str, session: &Session) {
    let mut text = session.screen.clone();
    if session.screen.contains("Password:   ") {
        text = text.replace(&shown_password(session), "(24 letters and digits)");
    }
    // How long a step took is not the same twice.
    let timed = |line: &&str| !line.trim_start().starts_with("done in ");
    let text: String = text.lines().filter(timed).map(|l| format!("{l}\n")).collect();
    assert_golden(&format!("tests/screens/{name}.txt"), &text);
}

#[test]
fn from_the_first_question_to_a_running_server() {
    let root = host();
    let mut terminal = wizard(&root, 60);
    defaults(&mut terminal).enter("y");
    terminal.answer("Press Enter to restart:", "");
    let session = terminal.end().expect(0);
    snapshot("wizard-60", &session);
    assert!(session.screen.lines().all(|l| l.chars().count() <= 60));
    let password = shown_password(&session);
    assert_eq!(session.raw.matches(&password).count(), 1, "it is shown once");
    assert_eq!(
        root.files_with(&password),
        ["/etc/awg-install/config.yaml", "/opt/wg-easy/wg-easy.env"],
        "where the server takes it from, and neither in the log nor in the receipt"
    );
    assert_eq!(root.running(), LTS);
    root.run(&["resume"]).expect(0).says("ssh -L 51821:").says("cli clients:qr ID").says("awg-install rollback");
    assert!(root.files_with(&password).is_empty());
    // A finished installation is said to be one, and nothing is asked.
    let session = wizard(&root, 100).end().expect(0);
    assert!(
        session.screen.contains("installed already") && session.screen.contains("nothing to do"),
        "{}",
        session.screen
    );
    assert!(!session.screen.contains("Public name"), "{}", session.screen);
}

#[test]
fn a_wide_terminal() {
    let root = host();
    let mut terminal = wizard(&root, 200);
    with_password(&mut terminal).enter("y");
    terminal.answer("Press Enter to restart:", "");
    let session = terminal.end().expect(0);
    snapshot("wizard-200", &session);
    assert!(!session.raw.contains(PASSWORD), "what is typed is not shown");
    assert_eq!(root.files_with(PASSWORD), ["/etc/awg-install/config.yaml", "/opt/wg-easy/wg-easy.env"]);
}

/// What was begun goes on with the password that was made up, so that it is told although the run has failed.
#[test]
fn a_failure_does_not_lose_the_password() {
    let mut root = host();
    root.set("FAKE_NOT_SET_UP", "1");
    let mut terminal = Terminal::start(&root, &["--mode", "userspace"], 100, &[]);
    defaults(&mut terminal).enter("y");
    let session = terminal.end().expect(6);
    let password = shown_password(&session);
    assert!(root.read("/etc/awg-install/config.yaml").contains(&password));
    assert!(!root.read("/var/log/awg-install.log").contains(&password));
    root.unset("FAKE_NOT_SET_UP");
    root.reboot();
    // It is the default from then on, and not told again.
    let mut terminal = Terminal::start(&root, &[], 100, &[]);
    terminal.wait_for("begun, and not finished");
    terminal.question("Public name or address", "").answer("[admin] >", "");
    terminal.wait_for("Enter alone keeps the one that is there").enter_hidden("");
    terminal.answer("[local] >", "").answer("[51820] >", "").answer("[userspace] >", "").answer(PLAN, "y");
    let session = terminal.end().expect(0);
    assert!(!session.raw.contains(&password));
    assert!(root.files_with(&password).is_empty());
}

/// Where the plan is not whole before something was looked into, the rest is asked about once more.
#[test]
fn a_plan_in_two_parts() {
    let root = host();
    let mut terminal = Terminal::start(&root, &[], 100, &[]);
    defaults(&mut terminal).enter("y");
    terminal.wait_for("[8/8]").wait_for(PLAN).enter("b");
    terminal.wait_for("Please answer y, n, e.").wait_for(PLAN).enter("n");
    let session = terminal.end().expect(6);
    assert!(session.screen.contains("stopped before the rest of the plan"), "{}", session.screen);
    assert!(shown_password(&session).len() == 24, "it is in the configuration already");
    root.run(&["rollback"]).expect(0);
}

/// The same values, whether a person or a file has said them, and so the same plan.
#[test]
fn answers_are_what_a_file_would_have_said() {
    let root = Root::fresh();
    let host = Host::new(Some(root.dir()), BTreeMap::new()).unwrap();
    let leaves = [
        ("server.host", "vpn.example.org"),
        ("server.username", "root"),
        ("server.web", "https"),
        ("server.https.email", "me@example.org"),
        ("server.port", "4500"),
        ("mode", "userspace"),
    ];
    let answers = Answers {
        leaves: leaves.map(|(path, text)| (path.to_string(), text.to_string())).into(),
        password: Some(Secret::new(PASSWORD)),
        made_up: false,
    };
    let cli = cli::parse(["awg-install"]).expect("a command line");
    let asked = answers.configuration(&host, &cli).unwrap();
    root.write(
        CONFIG,
        &format!(
            "mode: userspace\nserver: {{host: vpn.example.org, username: root, password: {PASSWORD}, web: https, port: 4500, \
             https: {{email: me@example.org}}}}\n"
        ),
    );
    let cli = cli::parse(["awg-install", "--config", CONFIG]).expect("a command line");
    let filed = setup::configuration(&host, &cli).unwrap();
    assert_eq!(asked, filed);
    let plan = |config| {
        let (facts, _) = run::look(&host, config, Reach::Local, None).unwrap();
        plan::plan(config, &facts, None, Aim::Install).unwrap()
    };
    assert_eq!(plan(&asked), plan(&filed));
}

/// The same steps, whether a person or a file has said what is wanted.
#[test]
fn answers_and_the_file_that_says_the_same_lead_to_one_plan() {
    let root = host();
    let before = state(&root);
    let mut terminal = wizard(&root, 100);
    with_password(&mut terminal).enter("n");
    let session = terminal.end().expect(2);
    before.assert_same(&state(&root), "no means no");
    root.write(CONFIG, CONFIG_TEXT);
    root.write(PASSWORD_FILE, &format!("{PASSWORD}\n"));
    let mut terminal = Terminal::start(&root, &["install", "--config", CONFIG], 100, &[]);
    terminal.answer(PLAN, "");
    let file = terminal.end().expect(2);
    let plan = |s: &Session| {
        let from = s.screen.find("Plan:").expect("a plan");
        s.screen[from..s.screen.find("Carry out this plan?").expect("a question")].to_string()
    };
    assert!(plan(&session).contains("reboot into"), "{}", plan(&session));
    assert_eq!(plan(&session), plan(&file));
}

#[test]
fn no_back_abort_and_explain() {
    let root = host();
    let before = state(&root);
    let mut terminal = wizard(&root, 80);
    // Back at the first question, and from one to the one before.
    terminal.question("Public name or address", "<").wait_for("This is the first question.");
    terminal.question("Public name or address", "one.example.org").question("Administrator's name", "<");
    terminal.answer("[one.example.org] >", "two.example.org").question("Administrator's name", "root");
    terminal.wait_for("Administrator's password").enter_hidden("<");
    terminal.answer("[root] >", "");
    terminal.wait_for("Administrator's password").enter_hidden("");
    terminal.question("Who can open", "").question("UDP port", "").question("What carries the tunnel?", "");
    terminal.answer(PLAN, "what?").wait_for("Please answer y, n, e or b.");
    terminal.answer(PLAN, "e").wait_for("can fail:").wait_for("undone by:").wait_for("rollback");
    terminal.answer(PLAN, "b").question("What carries the tunnel?", "2").answer(PLAN, "");
    let session = terminal.end().expect(2);
    snapshot("explained-80", &session);
    assert!(session.screen.contains("stopped: nothing was changed"), "{}", session.screen);
    before.assert_same(&state(&root), "after a no");

    for stop in ["q!\r", "\u{3}"] {
        let mut terminal = wizard(&root, 80);
        terminal.question("Public name or address", "").wait_for("[admin] > ").keys(stop);
        let session = terminal.end().expect(2);
        assert!(session.screen.contains("stopped: nothing was changed"), "{stop:?}: {}", session.screen);
        // And where nothing is shown: the terminal is left as it was.
        let mut terminal = wizard(&root, 80);
        terminal.question("Public name or address", "").question("Administrator's name", "");
        terminal.wait_for("Administrator's password").enter_hidden("too short").wait_for("at least 12");
        terminal
            .enter_hidden(PASSWORD)
            .wait_for("Once more")
            .enter_hidden("another long one")
            .wait_for("The two differ.");
        terminal.enter_hidden("q!");
        assert!(!terminal.end().expect(2).raw.contains(PASSWORD));
        // At the plan as well.
        let mut terminal = wizard(&root, 80);
        defaults(&mut terminal).keys(stop);
        terminal.end().expect(2);
        before.assert_same(&state(&root), stop);
    }
}

/// What the configuration refuses is refused in the same words, and asked for again.
#[test]
fn bad_answers() {
    let root = host_at("10.0.2.15");
    let udp = root.read("/proc/net/udp");
    let row = "  1: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21035 2 0 0\n";
    root.write("/proc/net/udp", &format!("{udp}{row}"));
    let mut terminal = Terminal::start(&root, &[], 100, &[]);
    terminal.wait_for("10.0.2.15, is a private one");
    terminal.answer(">", "").wait_for("An answer is needed.");
    terminal.enter("https://vpn.example.org").wait_for("server.host: \"https://vpn.example.org\" has a scheme");
    terminal.enter("0.0.0.0").wait_for("no address that a client could reach");
    terminal.enter("vpn.example.org");
    terminal.answer("[admin] >", "x").wait_for("is shorter than 2 characters").enter("admin");
    terminal.wait_for("Administrator's password").enter_hidden("short").wait_for("at least 12 are needed");
    terminal.enter_hidden("");
    terminal.answer("[local] >", "4").wait_for("local").enter("nobody").wait_for("one of").enter("https");
    terminal.question("E-mail address", "nobody").wait_for("is not an e-mail address").enter("");
    terminal.wait_for("51820 is taken by another program").wait_for("[51821] >");
    terminal.enter("51820").wait_for("server.port 51820 is taken").enter("70000").wait_for("from 1 to 65535");
    terminal.enter("51830").wait_for("What carries the tunnel?");
    // Plain WireGuard takes a word of its own.
    terminal.enter("wireguard").wait_for("can be recognised on the wire").enter("");
    terminal.wait_for("[auto] >").enter("4").wait_for("can be recognised").enter("wireguard").wait_for(PLAN);
    terminal.enter("b").question("What carries the tunnel?", "<").question("UDP port", "<");
    // An address has no account with an authority; the one that was given goes.
    terminal.question("E-mail address", "me@example.org").question("UDP port", "<").question("E-mail address", "<");
    terminal.question("Who can open the admin page?", "<").wait_for("Administrator's password").enter_hidden("<");
    terminal.question("Administrator's name", "<").question("Public name or address", "203.0.113.9");
    terminal.answer("[admin] >", "").wait_for("Administrator's password").enter_hidden("");
    terminal.wait_for("browsers warn of the certificate").answer("[https] >", "").wait_for("UDP port").keys("\u{3}");
    terminal.end().expect(2);
}

/// An answer may need more than a line, and be mended.
#[test]
fn a_long_answer() {
    let root = host();
    let name = format!("{}.{}.example.org", "a".repeat(40), "b".repeat(40));
    let mut terminal = wizard(&root, 60);
    terminal.wait_for("[203.0.113.7] > ").keys(&name).keys("xyz\u{7f}\u{7f}\u{7f}").enter("");
    terminal.question("Administrator's name", "<").wait_for("Clients connect").wait_for(&name[..50]);
    terminal.answer(" > ", "").wait_for("Administrator's name").keys("\u{3}");
    let session = terminal.end().expect(2);
    // As it was typed, and once more as what Enter takes.
    let shown = session.screen.replace('\n', "");
    assert_eq!(shown.matches(&name).count(), 2, "{}", session.screen);
    assert!(!shown.contains("xyz"), "{}", session.screen);
}

/// Values that are configured already are what Enter takes.
#[test]
fn what_is_configured_is_the_default() {
    let root = Root::fresh();
    let mut terminal =
        Terminal::start(&root, &["--config", CONFIG, "--mode", "userspace", "--server-port", "4500"], 100, &[]);
    terminal.answer("[vpn.example.org] >", "").answer("[admin] >", "");
    terminal.wait_for("Enter alone keeps the one that is there").enter_hidden("");
    terminal.answer("[local] >", "").answer("[4500] >", "").answer("[userspace] >", "").answer(PLAN, "y");
    let session = terminal.end().expect(0);
    assert!(session.screen.contains("Server:     vpn.example.org, UDP port 4500"), "{}", session.screen);
    assert!(!session.screen.contains("Password:   "));
    assert_eq!(root.running(), VIRT);
    assert!(root.files_with(PASSWORD) == [PASSWORD_FILE]);
    snapshot("finished-100", &Session { screen: last_lines(&session.screen, 9), ..session });
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|l| format!("{l}\n")).collect()
}

/// The README shows how it begins, as it is.
#[test]
fn the_readme_shows_a_real_screen() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let screen = std::fs::read_to_string(repository().join("tests/screens/wizard-60.txt")).unwrap();
    let beginning = screen.split("\nLooking at what").next().expect("a beginning");
    let indented = |line: &str| if line.is_empty() { "\n".into() } else { format!("    {line}\n") };
    let shown: String = beginning.trim_end().lines().map(indented).collect();
    assert!(readme.contains(&shown), "put this into README.md:\n{shown}");
}

/// Colours only where they are wanted; the same words everywhere, and nothing but ASCII.
#[test]
fn kinds_of_terminals() {
    let root = host();
    let mut screens = Vec::new();
    for env in [&[][..], &[("NO_COLOR", "1")], &[("LANG", "C"), ("NO_COLOR", "1")], &[("TERM", "dumb")]] {
        let mut terminal = Terminal::start(&root, FLAGS, 60, env);
        defaults(&mut terminal).enter("n");
        let session = terminal.end().expect(2);
        assert!(session.raw.is_ascii(), "{env:?}");
        // Keys of an editor are not colours; a dumb terminal has neither.
        let kinds = session.raw.split("\u{1b}[").skip(1).filter_map(|s| s.split_once('m').map(|(kind, _)| kind));
        let colours: Vec<&str> = kinds.filter(|k| k.chars().all(|c| c.is_ascii_digit() || c == ';')).collect();
        assert_eq!(!colours.is_empty(), env.is_empty(), "{env:?}: {:?}", session.raw);
        // Bold, dim, red, green and yellow can be read on a light ground and on a dark one; no ground is set.
        for kind in colours {
            assert!(["", "0", "1", "2", "31", "32", "33"].contains(&kind), "{kind}");
        }
        assert!(!session.raw.contains('\u{1b}') || !env.contains(&("TERM", "dumb")), "{:?}", session.raw);
        screens.push(session.screen);
    }
    assert!(screens.iter().all(|s| *s == screens[0]), "{screens:#?}");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let root = host();
    let before = state(&root);
    root.run(FLAGS).expect(2).says("there is no terminal to ask on").says("--unattended");
    root.run(&["install", "--server-host", "a.example", "--server-username", "admin"]).expect(2).says("--unattended");
    // Where only one of the two directions is a terminal, nobody can be asked either.
    let mut terminal = Terminal::start(&root, &["--output", "json"], 80, &[]);
    terminal.wait_for("--unattended");
    terminal.end().expect(2);
    let piped = Command::new(support::program()).arg("--root").arg(root.dir()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(piped.status.code(), Some(2));
    before.assert_same(&state(&root), "nothing was begun");
}

#[test]
fn what_was_edited_by_hand_is_replaced_only_after_a_yes() {
    let root = Root::fresh();
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    let edited = root.read(COMPOSE).replace("max-size: 10m", "max-size: 99m");
    root.write(COMPOSE, &edited);
    let before = state(&root);
    for command in ["install", "upgrade"] {
        for answer in ["", "n", "no", "yeah"] {
            let mut terminal = Terminal::start(&root, &[command], 120, &[]);
            terminal.wait_for("max-size: 99m").answer("edited by hand. Replace (a copy is kept beside)? [y/N]", answer);
            let session = terminal.end().expect(2);
            assert!(session.screen.contains("stopped: nothing was changed"), "{}", session.screen);
            before.assert_same(&state(&root), answer);
        }
    }
    let mut terminal = Terminal::start(&root, &["install"], 120, &[]);
    terminal.answer("Replace (a copy is kept beside)? [y/N]", "y").answer(PLAN, "yes");
    terminal.end().expect(0);
    let kept = |path: &&String| path.starts_with("/opt/wg-easy/compose.yaml.edited-");
    let copies: Vec<String> = root.tree().0.keys().filter(kept).cloned().collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(root.read(&copies[0]), edited);
    assert!(root.read(COMPOSE).contains("max-size: 10m"));
}

/// After the restart root is told at a login how it stands, until `status` was run; nobody else ever is.
#[test]
fn a_line_at_the_next_login() {
    const SCRIPT: &str = "/etc/profile.d/awg-install.sh";
    let root = Root::fresh();
    let fresh = state(&root);
    let login = |interactive: bool| {
        let text = root.read(SCRIPT).replace(NOTICE, &root.path(NOTICE).display().to_string());
        root.write("/root/login.sh", &format!("set -eu\n{text}\necho end\n"));
        let mut shell = Command::new("sh");
        if interactive {
            shell.arg("-i");
        }
        let out = shell.arg(root.path("/root/login.sh")).stdin(Stdio::null()).output().expect("a shell");
        root.remove("/root/login.sh");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    };
    root.install().expect(0);
    assert_eq!(root.mode(SCRIPT), 0o644);
    let waits = login(true);
    assert!(
        waits.contains("awg-install: goes on by itself once 6.12.50-0-lts runs (more: `awg-install status`)"),
        "{waits}"
    );
    assert_eq!(waits.lines().count(), 2, "{waits}");
    assert_eq!(login(false), "end\n", "a script that reads the profile is told nothing");
    root.run(&["status"]).expect(0);
    assert_eq!(login(true), waits, "what is not over is told again");
    root.run(&["resume"]).expect(0);
    assert!(login(true).contains("awg-install: done: AmneziaWG runs in kernel mode on 6.12.50-0-lts"));
    root.run(&["status"]).expect(0);
    assert_eq!(login(true), "end\n");
    // Whatever is left of it does no harm.
    root.write(NOTICE, "");
    assert_eq!(login(true), "end\n");
    root.install().expect(0).says("nothing to do");
    root.run(&["rollback"]).expect(0);
    root.run(&["resume"]).expect(0);
    assert!(!root.exists(SCRIPT) && !root.exists(NOTICE) && !root.exists("/etc/profile.d"));
    let left = ["/var", "/opt", "/etc/docker", "/proc", "/boot", "/lib", "/etc/group", "/usr"];
    fresh.without(&left).assert_same(&state(&root).without(&left), "after a rollback");
}
