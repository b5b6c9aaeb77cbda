//! The complete command, with the texts around it.

use clap::{Command, CommandFactory};

use super::{Raw, flags};

/// The commit and target that this binary was built from.
const BUILD: (&str, &str) = (
    match option_env!("AWG_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
    match option_env!("AWG_TARGET") {
        Some(target) => target,
        None => "unknown",
    },
);

const ABOUT: &str = "Turns a fresh Alpine host into a working AmneziaWG server";

const LONG_ABOUT: &str = "Turns a fresh Alpine host into a working AmneziaWG server: installs the kernel that the \
AmneziaWG module needs, reboots into it, goes on by itself, loads the module and starts a wg-easy container. Other \
hosts with Docker get the userspace mode.

Without a command it asks what it needs to know, shows the plan and installs after a confirmation.";

const EXIT_CODES: &str = "Exit codes:
   0  done, nothing to do, or reboot scheduled and the rest follows by itself
   2  usage
   3  configuration invalid
   4  host not supported or preflight failed, nothing changed
   5  an artifact that was named explicitly failed verification (digest, signature,
      wrong kernel), nothing changed
   6  a step failed; the receipt says where; running again resumes
   7  reboot needed and left to the operator (--no-reboot)
   8  running, but below the top rung of its ladder (kernel on a supported Alpine,
      userspace elsewhere) without having been asked for that rung
   9  another run holds the lock
  10  changes pending or drift (plan, status; only with --detailed-exitcode)

The run that ends in a reboot returns 0. The final code (0, 6, 7 or 8) is what status
and status --wait return.";

const SOURCES: &str = "Where settings come from:
  Every key of the configuration file is also a flag (server.port: --server-port) and an environment variable \
(AWG_SERVER_PORT). A flag wins over the environment, the environment over the file. --help lists the flags, \
`awg-install render example` prints a file with every key explained. Passwords have no flag: use \
--server-password-file FILE (- for standard input) or AWG_SERVER_PASSWORD, and --container-registry-password-file \
or AWG_CONTAINER_REGISTRY_PASSWORD.";

/// What the help of two commands says about them.
pub(super) const BACKUP: &str = "Copy the server's data, as it is at one moment, into one file.

The container is paused while its files are copied, for a fraction of a second, and goes on whatever happens. The file \
holds the private key of every client and of the server: it is readable by root alone, and with backup.recipients it is \
encrypted to age public keys. Links, devices and pipes that lie in the data are left out. backup.keep says how many are \
kept.";

pub(super) const RESTORE: &str = "Put a backup in place of the server's data, and prove that the server works with it.

All of the backup is checked before anything is changed. The data that is there now is backed up first, and is put back \
when the server does not come up. Names, passwords and settings are then those of the backup. Compose file, environment, \
kernel and module stay as they are.";

/// What `--version` prints after the name.
pub(super) fn version() -> String {
    format!("{} (commit {}, target {})", env!("CARGO_PKG_VERSION"), BUILD.0, BUILD.1)
}

/// What `parse` takes: everything documented, and what is known only to be refused.
pub(super) fn command() -> Command {
    documented().args(flags::passwords())
}

/// Everything that help and completions know.
pub(super) fn documented() -> Command {
    plain().args(flags::args())
}

/// The command as its manual page shows it, with or without the configuration's flags.
pub(super) fn manual(configuration: bool) -> Command {
    let command = if configuration { documented() } else { plain() };
    command.after_help(None::<&str>)
}

fn plain() -> Command {
    Raw::command()
        .version(version())
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help("--help explains the configuration flags and the exit codes.")
        .after_long_help(format!("{SOURCES}\n\n{EXIT_CODES}"))
}
