//! Every command that README.md shows is run as it stands there, on hosts that are prepared for it.

mod support;

use std::collections::BTreeSet;

use awg_install::cli;
use clap::ValueEnum;
use clap_complete::Shell;
use support::terminal::Terminal;
use support::{CONFIG, MODULE, Root, module, repository};

const BUNDLE: &str = "/root/awg.bundle";

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).expect("README.md")
}

/// The commands in its blocks and between its backquotes, without comments and what the shell does.
fn commands() -> BTreeSet<String> {
    let text = readme().replace("\\\n", " ");
    let blocks = text.lines().filter_map(|l| l.strip_prefix("    "));
    let quoted = text.split('`').skip(1).step_by(2);
    let name = |c: &str| c.trim_start_matches("./").starts_with("awg-install ");
    let plain = |c: &str| {
        let c = c.split(['#', '>']).next().unwrap_or_default();
        c.split_whitespace().collect::<Vec<_>>().join(" ").trim_start_matches("./").to_string()
    };
    blocks.chain(quoted).filter(|c| name(c)).map(plain).collect()
}

/// The configuration that the README has somebody write.
fn configuration() -> String {
    let text = readme();
    let begin = "    cat > config.yaml <<END\n";
    let from = text.find(begin).expect("a configuration") + begin.len();
    let length = text[from..].find("    END\n").expect("its end");
    text[from..from + length].lines().map(|l| format!("{}\n", l.trim_start())).collect()
}

/// A host on which somebody does what the README says.
struct Story {
    root: Root,
    left: BTreeSet<String>,
}

impl Story {
    /// Runs what the README shows, word for word but for the places of files.
    #[track_caller]
    fn run(&mut self, command: &str, places: &[(&str, &str)], code: i32) -> String {
        let words = self.words(command, places);
        self.root.run(&words).expect(code).out
    }

    /// The same at a terminal, where it may ask.
    #[track_caller]
    fn person(&mut self, command: &str, places: &[(&str, &str)]) -> Terminal {
        let words = self.words(command, places);
        Terminal::start(&self.root, &words, 100, &[])
    }

    #[track_caller]
    fn words<'a>(&mut self, command: &'a str, places: &[(&str, &'a str)]) -> Vec<&'a str> {
        assert!(self.left.remove(command), "not in README.md, or run before: `{command}`");
        let place = |word| places.iter().find(|(from, _)| *from == word).map_or(word, |place| place.1);
        command.split(' ').skip(1).map(place).collect()
    }
}

#[test]
fn what_the_readme_shows_can_be_run() {
    let mut root = Root::bare(&[]);
    // There is one to be had, as in a catalog.
    root.set("AWG_MODULE_SOURCE", "file");
    root.set("AWG_MODULE_PATH", MODULE);
    root.write(CONFIG, &configuration());
    root.write_bytes(MODULE, &module::good().bytes());
    let config = [("config.yaml", CONFIG)];
    let mut story = Story { root, left: commands() };
    assert!(story.run("awg-install plan --config config.yaml", &config, 0).contains("Plan:"));
    story.run("awg-install --unattended --config config.yaml", &config, 0);
    // The service of the boot that followed.
    story.root.run(&["resume"]).expect(0);
    let told = story.run("awg-install status --wait", &[], 0);
    assert!(told.contains("done: AmneziaWG runs in kernel mode"), "{told}");
    assert!(story.run("awg-install password", &[], 0).contains("Password"));
    assert!(story.run("awg-install status", &[], 0).contains("wg0"));
    story.run("awg-install doctor", &[], 0);
    let support = [("FILE", "/root/support.tar.gz")];
    story.run("awg-install doctor --support-archive FILE", &support, 0);
    assert!(story.root.exists("/root/support.tar.gz"));
    assert!(story.run("awg-install render example", &[], 0).contains("generate_password"));
    story.person("awg-install install", &[]).end().expect(0);
    let mut upgrade = story.person("awg-install upgrade", &[]);
    upgrade.answer("(no): ", "y");
    upgrade.end().expect(0);
    story.run("awg-install backup", &[], 0);
    let kept = "/var/lib/awg-install/backup";
    let names = std::fs::read_dir(story.root.path(kept)).unwrap().map(|e| e.unwrap().file_name());
    let name = names.map(|n| n.into_string().unwrap()).find(|n| n.ends_with(".tar.gz")).expect("a backup");
    let shown = "/var/lib/awg-install/backup/wg-easy-20260101-120000.tar.gz";
    let mut restore = story.person(&format!("awg-install restore {shown}"), &[(shown, &format!("{kept}/{name}"))]);
    restore.answer("[y/N] ", "y");
    restore.end().expect(0);
    let rendered = "awg-install render cloud-init --url https://example.org/awg-install-0.1.0-x86_64 \
                    --server-host vpn.example.org --server-username admin";
    assert!(story.run(rendered, &[], 0).starts_with("#cloud-config\n"));
    // The settings are those of the host here.
    assert!(story.run("awg-install render cloud-init", &[], 0).contains("host: vpn.example.org"));
    let made = format!("awg-install bundle create {BUNDLE} --module-source file --module-path {MODULE}");
    story.run(&made, &[], 0);
    assert!(story.root.exists(BUNDLE));
    story.run("awg-install rollback", &[], 0);
    assert!(story.left.is_empty(), "shown in README.md, and not run here: {:#?}", story.left);
}

/// The table of commands is the program's own list.
#[test]
fn the_table_of_commands_is_complete() {
    let text = readme();
    let rows = text.lines().skip_while(|l| *l != "| command | does |").skip(2).take_while(|l| l.starts_with('|'));
    let first = |row: &str| row.split('|').nth(1).unwrap_or_default().replace(['`', ','], "");
    let shown: BTreeSet<String> =
        rows.map(first).filter_map(|c| c.split_whitespace().next().map(String::from)).collect();
    let help = Root::bare(&[]).run(&["--help"]).expect(0).out;
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // What a command does may go on in the next line.
    let named =
        listed.filter(|l| l.starts_with("  ") && !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next());
    // Without a command it asks; `completions` and `man` share a row.
    let known: BTreeSet<String> =
        named.chain(["awg-install"]).filter(|n| !["man", "help"].contains(n)).map(String::from).collect();
    assert_eq!(shown, known);
}

#[test]
fn what_packagers_need() {
    for shell in Shell::value_variants() {
        let script = String::from_utf8(cli::completions(*shell)).unwrap();
        assert!(script.contains("server-host") && script.contains("module"), "{shell}");
    }
    let page = String::from_utf8(cli::man().unwrap()).unwrap();
    for part in [".TH", "unattended", "AWG_SERVER_PASSWORD", "Exit codes"] {
        assert!(page.contains(part), "the man page lacks {part}");
    }
}
