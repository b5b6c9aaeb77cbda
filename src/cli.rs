//! The command line: subcommands and global options by derive, one flag per key of the
//! configuration from its table.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::{PublicKey, Sha256, leaves};

mod flags;
mod help;
mod render;
#[cfg(test)]
mod tests;

pub use clap_complete::Shell;
pub use render::{RenderArgs, RenderWhat};

/// What the operator asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Cli {
    pub command: Command,
    pub globals: Globals,
    /// Values of configuration flags, by dotted path, as written.
    pub leaves: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// No subcommand and no `--unattended`: the wizard, where there is a terminal.
    Wizard,
    Install(InstallArgs),
    Plan(PlanArgs),
    Upgrade(UpgradeArgs),
    Resume,
    /// Hidden: what the boot service calls.
    Guard,
    Status(StatusArgs),
    Doctor(DoctorArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Rollback(RollbackArgs),
    /// Hidden: what waits for the first-boot tools before it restarts the host.
    RebootWhenReady {
        kexec: bool,
    },
    /// Hands out the password that was made here.
    Password,
    Render(RenderArgs),
    ModuleInspect(PathBuf),
    BundleCreate(BundleCreateArgs),
    BundleVerify(BundleVerifyArgs),
    Completions(Shell),
    Man,
}

/// Options that every command takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Configuration file (YAML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How results are printed
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Output,
    /// Where the log (JSON lines) goes instead of /var/log/awg-install.log
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Print only warnings, errors and the result
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more: once for commands, twice for their output
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Colours on the terminal
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,
    /// Work below this directory instead of /; never reboots and starts no container
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Take confirmations as given
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// Show the plan and change nothing (same as the command plan)
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Never ask anything; fail where an answer is missing
    #[arg(long, global = true)]
    pub unattended: bool,
    /// Leave a needed reboot to the operator (exit code 7)
    #[arg(long, global = true)]
    pub no_reboot: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// When the output is a terminal and NO_COLOR is not set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct InstallArgs {
    /// Try a kernel again that was tried before and did not work
    #[arg(long)]
    pub retry_kernel: bool,
    /// Overwrite files that were edited by hand; a copy of each is kept beside it
    #[arg(long)]
    pub replace_edited: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct UpgradeArgs {
    /// Overwrite files that were edited by hand; a copy of each is kept beside it
    #[arg(long)]
    pub replace_edited: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct PlanArgs {
    /// Exit with 10 when there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct StatusArgs {
    /// Wait until a pending installation has ended, and return its exit code
    #[arg(long)]
    pub wait: bool,
    /// Exit with 10 when the host differs from what was installed
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct DoctorArgs {
    /// Write what others need to help into this file (tar.gz), without passwords, keys, and the addresses and names of
    /// peers; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub support_archive: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct RollbackArgs {
    /// Remove the server's data as well, and the backups in /var/lib/awg-install/backup
    #[arg(long)]
    pub purge_data: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct BackupArgs {
    /// Write to this file instead of backup.directory; it must not be there yet, and no older backup is removed
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File with the age secret key that opens an encrypted backup (AGE-SECRET-KEY-1...)
    #[arg(long, value_name = "KEYFILE")]
    pub identity: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Args)]
pub struct BundleCreateArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Sign it with this minisign secret key, which must have no password (minisign -G -W)
    #[arg(long, value_name = "KEYFILE")]
    pub sign: Option<PathBuf>,
    /// Leave the image out; the installation then pulls it
    #[arg(long)]
    pub no_image: bool,
}

#[derive(Debug, Clone, PartialEq, Args)]
pub struct BundleVerifyArgs {
    /// The file to look at
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<Sha256>,
    /// minisign public key that may have signed it, beside those of the configuration
    #[arg(long, value_name = "KEY")]
    pub public_key: Vec<PublicKey>,
}

/// Why there is nothing to run: help, version, or a mistake on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 0 for help and version, 2 for a mistake.
    pub code: u8,
    /// Complete text, with a line end. Goes to standard output when `code` is 0.
    pub text: String,
}

impl Exit {
    fn usage(message: &str, tip: &str) -> Self {
        Self { code: 2, text: format!("error: {message}\n\n  tip: {tip}\n\nFor more information, try '--help'.\n") }
    }
}

/// Reads the arguments, the program's own name first.
pub fn parse<I, T>(args: I) -> Result<Cli, Exit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<T> = args.into_iter().collect();
    // Asked by scripts all the time, and answered without making every flag first.
    if let [_, only] = args.as_slice() {
        let only: OsString = only.clone().into();
        if only == "--version" || only == "-V" {
            return Err(Exit { code: 0, text: format!("{NAME} {}\n", help::version()) });
        }
    }
    let matches = help::command().try_get_matches_from(args).map_err(exit)?;
    flags::refuse_passwords(&matches)?;
    let raw = Raw::from_arg_matches(&matches).map_err(exit)?;
    let leaves = flags::given(&matches);
    let command = command(raw.command, &raw.globals)?;
    let configured = matches!(
        command,
        Command::Wizard
            | Command::Install(_)
            | Command::Upgrade(_)
            | Command::Plan(_)
            | Command::Backup(_)
            | Command::BundleCreate(_)
            | Command::BundleVerify(_)
    ) || matches!(&command, Command::Render(args) if args.what.is_configured());
    if let Some(path) = leaves.keys().next().filter(|_| !configured) {
        let flag = leaves_flag(path);
        return Err(Exit::usage(
            &format!("--{flag} configures an installation, which this command does not do"),
            "give it to install, plan or render",
        ));
    }
    Ok(Cli { command, globals: raw.globals, leaves })
}

/// Whether a command line that cannot be read has asked for JSON.
pub fn wants_json(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.collect();
    args.iter().any(|a| a == "--output=json") || args.windows(2).any(|w| w[0] == "--output" && w[1] == "json")
}

/// The completion script for a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut help::documented(), NAME, &mut out);
    out
}

/// The manual page, in roff.
pub fn man() -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let page = clap_mangen::Man::new(help::manual(true));
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    // With every configuration flag the synopsis would fill a screen and say nothing.
    clap_mangen::Man::new(help::manual(false)).render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    let mut commands = Vec::new();
    page.render_subcommands_section(&mut commands)?;
    // There is one page; the commands are not pages of their own.
    let commands = String::from_utf8_lossy(&commands).replace(r"awg\-install\-", r"awg\-install ").replace("(1)", "");
    out.extend_from_slice(commands.as_bytes());
    page.render_extra_section(&mut out)?;
    page.render_version_section(&mut out)?;
    Ok(out)
}

const NAME: &str = "awg-install";

#[derive(Debug, Parser)]
#[command(name = NAME)]
struct Raw {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<RawCommand>,
}

#[derive(Debug, Subcommand)]
enum RawCommand {
    /// Install, or bring an installation up to its configuration
    Install(InstallArgs),
    /// Show what would change and why; changes nothing
    Plan(PlanArgs),
    /// Go to the newest kernel and module that fit together, and to the image's newest version; back if it fails
    Upgrade(UpgradeArgs),
    /// Make the container work in the best mode that the running kernel allows
    #[command(hide = true)]
    Guard,
    /// Go on after the reboot; the boot service calls this
    Resume,
    /// Show kernel, module, mode and container on one screen
    Status(StatusArgs),
    /// Check everything that must hold for the server to work, a tunnel of the module's included
    Doctor(DoctorArgs),
    /// Copy the server's data, as it is at one moment, into one file
    #[command(long_about = help::BACKUP)]
    Backup(BackupArgs),
    /// Put a backup in place of the server's data, and prove that the server works with it
    #[command(long_about = help::RESTORE)]
    Restore(RestoreArgs),
    /// Undo what was installed, newest step first; the server's data and backups stay
    Rollback(RollbackArgs),
    /// Restart once cloud-init or tiny-cloud has ended
    #[command(hide = true)]
    RebootWhenReady {
        /// Start the kernel that was loaded for it
        #[arg(long)]
        kexec: bool,
    },
    /// Print a file as it would be written
    Render(RenderArgs),
    /// Show the administrator's password that was made on this host, and forget it
    Password,
    /// Look at a kernel module
    #[command(subcommand)]
    Module(RawModule),
    /// Make or check the one file that an installation without a network needs
    #[command(subcommand)]
    Bundle(RawBundle),
    /// Print a shell's completion script
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
enum RawModule {
    /// Show release, architecture, dependencies and whether it fits the running kernel
    Inspect {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum RawBundle {
    /// Collect packages, module and image for this configuration into one file
    Create(BundleCreateArgs),
    /// Show what is in a bundle, and whether all of it is what its maker put there
    Verify(BundleVerifyArgs),
}

fn command(raw: Option<RawCommand>, globals: &Globals) -> Result<Command, Exit> {
    let command = match raw {
        None if globals.unattended => Command::Install(InstallArgs::default()),
        None => Command::Wizard,
        Some(RawCommand::Install(args)) => Command::Install(args),
        Some(RawCommand::Plan(args)) => Command::Plan(args),
        Some(RawCommand::Upgrade(args)) => Command::Upgrade(args),
        Some(RawCommand::Guard) => Command::Guard,
        Some(RawCommand::Resume) => Command::Resume,
        Some(RawCommand::Status(args)) => Command::Status(args),
        Some(RawCommand::Doctor(args)) => Command::Doctor(args),
        Some(RawCommand::Backup(args)) => Command::Backup(args),
        Some(RawCommand::Restore(args)) => Command::Restore(args),
        Some(RawCommand::Rollback(args)) => Command::Rollback(args),
        Some(RawCommand::RebootWhenReady { kexec }) => Command::RebootWhenReady { kexec },
        Some(RawCommand::Render(args)) => {
            if args.url.is_some() && !args.what.is_user_data() {
                return Err(Exit::usage(
                    "--url is for user-data",
                    "give it to `render cloud-init` or `render tiny-cloud`",
                ));
            }
            Command::Render(args)
        }
        Some(RawCommand::Password) => Command::Password,
        Some(RawCommand::Module(RawModule::Inspect { file })) => Command::ModuleInspect(file),
        Some(RawCommand::Bundle(RawBundle::Create(args))) => Command::BundleCreate(args),
        Some(RawCommand::Bundle(RawBundle::Verify(args))) => Command::BundleVerify(args),
        Some(RawCommand::Completions { shell }) => Command::Completions(shell),
        Some(RawCommand::Man) => Command::Man,
    };
    if !globals.dry_run {
        return Ok(command);
    }
    // Decided here, so that no command can forget to look.
    match command {
        Command::Wizard | Command::Install(_) => Ok(Command::Plan(PlanArgs::default())),
        Command::Upgrade(_)
        | Command::Guard
        | Command::Resume
        | Command::Doctor(DoctorArgs { support_archive: Some(_) })
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Rollback(_)
        | Command::RebootWhenReady { .. }
        | Command::Password
        | Command::BundleCreate(_) => {
            Err(Exit::usage("--dry-run is for install", "leave it out, or run `awg-install status` first"))
        }
        reads_only => Ok(reads_only),
    }
}

fn leaves_flag(path: &str) -> String {
    leaves().iter().find(|l| l.path == path).and_then(|l| l.flag()).unwrap_or_else(|| path.to_string())
}

fn exit(err: clap::Error) -> Exit {
    Exit { code: if err.use_stderr() { 2 } else { 0 }, text: err.render().to_string() }
}
