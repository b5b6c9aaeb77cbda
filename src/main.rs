//! One command that turns a fresh Alpine VPS into a working AmneziaWG server.

use std::io::Write;
use std::process::ExitCode;

use awg_install::choice::{self, Aim};
use awg_install::cli::{self, Cli, Command, RenderArgs, RenderWhat};
use awg_install::error::{Error, Kind, Result};
use awg_install::facts::Reach;
use awg_install::host::{self, Host};
use awg_install::report::{self, Report};
use awg_install::run::{self, Wish};
use awg_install::{
    backup, bundle, config, doctor, kernel, module, owned, plan, reboot, receipt, setup, status, undo, wayback, wizard,
};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => {
            if exit.code == 0 {
                // A closed pipe (`| head`) is no error.
                let _ = std::io::stdout().write_all(exit.text.as_bytes());
            } else {
                eprint!("{}", exit.text);
                if cli::wants_json(std::env::args_os()) {
                    report::usage(&exit.text, exit.code);
                }
            }
            return ExitCode::from(exit.code);
        }
    };
    let env: std::collections::BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let off = host::Log::off();
    let early = Report::new(&cli.globals, &off, &env);
    let mut host = match Host::new(cli.globals.root.as_deref(), env) {
        Ok(host) => host,
        Err(error) => {
            early.error(&error);
            early.close(error.exit_code(), Some(&error));
            return ExitCode::from(error.exit_code());
        }
    };
    let acts = matches!(
        cli.command,
        Command::Wizard
            | Command::Install(_)
            | Command::Upgrade(_)
            | Command::Guard
            | Command::Resume
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Rollback(_)
            | Command::BundleCreate(_)
    );
    if acts && host.require_root().is_ok() {
        run::open_log(&mut host, cli.globals.log_file.as_deref());
        host.stop = host::signals::Stop::listen().ok();
    }
    let audience = early.audience();
    host.watch = Some(Box::new(move |what| Box::new(report::progress::progress(audience, what))));
    let report = Report::new(&cli.globals, &host.log, host.env_all());
    // What these print is not for programs to take apart.
    let prints = matches!(cli.command, Command::Render(_) | Command::Completions(_) | Command::Man);
    let code = match dispatch(&cli, &host, &report) {
        Ok(code) => {
            if !prints {
                report.close(code, None);
            }
            code
        }
        Err(error) => {
            report.error(&error);
            report.close(error.exit_code(), Some(&error));
            error.exit_code()
        }
    };
    host.log.exit(code);
    ExitCode::from(code)
}

fn dispatch(cli: &Cli, host: &Host, report: &Report) -> Result<u8> {
    let globals = &cli.globals;
    match &cli.command {
        Command::Wizard if !globals.yes => {
            host.require_root()?;
            must_ask(globals)?;
            wizard::wizard(host, cli, report)
        }
        Command::Wizard | Command::Install(_) | Command::Upgrade(_) => {
            host.require_root()?;
            let config = setup::configuration(host, cli)?;
            let confirm = must_ask(globals)?;
            let (aim, retry, replace_edited) = match &cli.command {
                Command::Upgrade(args) => (Aim::Upgrade, false, args.replace_edited),
                Command::Install(args) => (Aim::Install, args.retry_kernel, args.replace_edited),
                _ => (Aim::Install, false, false),
            };
            let reboot = !globals.no_reboot;
            run::install(host, &config, report, Wish { reboot, confirm, replace_edited, retry, aim, attended: None })
        }
        Command::Plan(args) => {
            let config = setup::configuration(host, cli)?;
            let receipt = receipt::Receipt::load(host)?;
            let (facts, _) = run::look(host, &config, Reach::Local, receipt.as_ref())?;
            let plan = plan::plan(&config, &facts, receipt.as_ref(), Aim::Install)?;
            if receipt.is_none() {
                kernel::foresee(host, &facts, plan.choice.release.as_deref())?;
            }
            let code = if args.detailed_exitcode && !plan.steps.is_empty() { 10 } else { 0 };
            match report.is_json() {
                true => report.document("plan", code, &plan),
                false => report::say(&report::plan_text(&plan, &facts)),
            }
            Ok(code)
        }
        Command::Resume => {
            host.require_root()?;
            if let Some(code) = undo::resume(host, report, !globals.no_reboot)? {
                return Ok(code);
            }
            let config = setup::configuration(host, cli)?;
            let reboot = !globals.no_reboot;
            let wish =
                Wish { reboot, confirm: false, replace_edited: false, retry: false, aim: Aim::Install, attended: None };
            run::resume(host, &config, report, wish)
        }
        Command::Guard => {
            host.require_root()?;
            let config = setup::configuration(host, cli)?;
            run::guard(host, &config, report)
        }
        Command::Status(args) => {
            host.require_root()?;
            if args.wait {
                status::wait(host)?;
            }
            let config = setup::configuration(host, cli)?;
            status::status(host, &config, report, args.detailed_exitcode, args.wait)
        }
        Command::Doctor(args) => {
            host.require_root()?;
            let loaded = setup::loaded(host, cli)?;
            let to = args.support_archive.as_deref().map(|file| (file, &loaded));
            doctor::doctor(host, &setup::configuration(host, cli)?, report, to)
        }
        Command::Backup(args) => {
            host.require_root()?;
            let _lock = run::lock(host)?;
            let config = setup::loaded(host, cli)?.config;
            backup::settle(host, &config, report)?;
            let receipt = receipt::Receipt::load(host)?;
            let order = backup::Order { to: args.to.as_deref(), spare: None };
            let made = backup::take(host, &config, receipt.as_ref(), &order)?;
            show(report, "backup", &made, || backup::text(&made))
        }
        Command::Restore(args) => {
            host.require_root()?;
            let confirm = must_ask(globals)?;
            let _lock = run::lock(host)?;
            wayback::refuse_unfinished(receipt::Receipt::load(host)?.as_ref())?;
            let config = setup::loaded(host, cli)?.config;
            let source = backup::Source { file: &args.file, identity: args.identity.as_deref() };
            let mut ask = || if confirm { run::confirm(host, "Put it in place of the server's data?") } else { Ok(()) };
            backup::restore(host, &config, report, &source, &mut ask)
        }
        Command::Rollback(args) => {
            host.require_root()?;
            undo::rollback(host, report, args.purge_data, !globals.no_reboot)
        }
        Command::RebootWhenReady { kexec } => reboot::when_ready(host, *kexec).map(|()| 0),
        Command::Render(args) => render(cli, host, args),
        Command::Password => {
            host.require_root()?;
            let handed = setup::hand_out_password(host, cli)?;
            show(report, "password", &handed, || handed.text())
        }
        Command::ModuleInspect(file) => inspect(host, report, file),
        Command::BundleCreate(args) => {
            host.require_root()?;
            let _lock = run::lock(host)?;
            let mut config = setup::loaded(host, cli)?.config;
            setup::registry_input(&mut config)?;
            let created = receipt::timestamp();
            let order = bundle::Order {
                file: &args.file,
                sign: args.sign.as_deref(),
                image: !args.no_image,
                created: &created,
            };
            let created = bundle::create(host, &config, &order, &mut |what| report.note(what))?;
            show(report, "bundle", &created, || bundle::created_text(&created))
        }
        Command::BundleVerify(args) => {
            let mut trust = bundle::Trust::of(&setup::loaded(host, cli)?.config);
            trust.keys.extend(args.public_key.iter().cloned());
            // The file that is named here need not be the one that is configured.
            trust.sha256 = args.sha256.clone();
            let verified = bundle::verify(host, &args.file, &trust, &mut |_, _| {})?;
            show(report, "bundle", &verified, || bundle::text(&args.file.display().to_string(), &verified))
        }
        Command::Completions(shell) => print(&cli::completions(*shell)),
        Command::Man => print(&cli::man().map_err(|e| Error::step("the man page cannot be made").cause(e))?),
    }
}

/// Whether a yes is needed, which takes a terminal.
fn must_ask(globals: &cli::Globals) -> Result<bool> {
    let confirm = !(globals.unattended || globals.yes);
    if confirm && globals.output == cli::Output::Json {
        return Err(Error::new(Kind::Usage, "--output json is for programs, and this would ask a person")
            .remedy("use --unattended (or --yes) to go ahead without a question"));
    }
    if confirm && !host::terminal::is_attended() {
        return Err(Error::new(Kind::Usage, "there is no terminal to ask on")
            .remedy("use --unattended (or --yes) to go ahead without a question"));
    }
    Ok(confirm)
}

/// A result as a document for programs, or as text for people.
fn show(report: &Report, kind: &str, result: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<u8> {
    match report.is_json() {
        true => report.document(kind, 0, result),
        false => report::say(&text()),
    }
    Ok(0)
}

fn render(cli: &Cli, host: &Host, args: &RenderArgs) -> Result<u8> {
    let what = args.what;
    let text = match what {
        RenderWhat::Example => config::render_example(),
        RenderWhat::Schema => format!("{:#}\n", config::schema()),
        RenderWhat::Config => config::render_effective(&setup::loaded(host, cli)?),
        RenderWhat::CloudInit | RenderWhat::TinyCloud => {
            let (program, config) = setup::for_another_host(host, cli, args)?;
            if what == RenderWhat::CloudInit {
                owned::first_boot::cloud_init(&program, &config)?
            } else {
                owned::first_boot::tiny_cloud(&program, &config)?
            }
        }
        RenderWhat::Compose | RenderWhat::Service => {
            let config = setup::configuration(host, cli)?;
            let receipt = receipt::Receipt::load(host)?;
            let (facts, _) = run::look(host, &config, Reach::Local, receipt.as_ref())?;
            let choice = choice::choose(&config, &facts, None, Aim::Install)?;
            let file = if what == RenderWhat::Compose { owned::Owned::Compose } else { owned::Owned::ResumeService };
            file.render(&plan::inputs(&config, &facts, &choice)?)?
        }
    };
    print(text.as_bytes())
}

fn inspect(host: &Host, report: &Report, file: &std::path::Path) -> Result<u8> {
    let bytes = host.read_named(Kind::Artifact, "the module", file, module::Limits::default().file)?;
    let inspection = module::inspect(&bytes, &module::Limits::default())?;
    let release = inspection.vermagic.release.clone();
    // Held against that kernel where it is installed here.
    let installed = host.exists(format!("/lib/modules/{release}/modules.dep"));
    let arch = inspection.machine.to_string();
    let target = installed.then(|| kernel::target(host, &inspection, &release, &arch));
    let findings = target.as_ref().map(|t| module::check(&inspection, t));
    let refusal = target.as_ref().zip(findings.as_ref()).and_then(|(t, f)| module::refusal(&inspection, t, f));
    let shown = module::Report::new(inspection, target.as_ref().zip(findings));
    let code = refusal.map_or(0, |e| e.exit_code());
    match report.is_json() {
        true => report.document("module", code, &shown),
        false => report::say(&module::text(&shown).trim_end()),
    }
    Ok(code)
}

fn print(bytes: &[u8]) -> Result<u8> {
    let _ = std::io::stdout().write_all(bytes);
    Ok(0)
}
