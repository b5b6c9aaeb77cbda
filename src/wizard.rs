//! The wizard: finds out what it can, asks what it must, and ends in `install` with the answers as if they had been
//! flags.

mod question;
mod welcome;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ask;
use crate::choice::Aim;
use crate::cli::Cli;
use crate::config::{Config, Secret};
use crate::error::{Kind, Result};
use crate::facts::{Facts, Reach, address};
use crate::host::{Host, random};
use crate::receipt::{self, Outcome, Receipt};
use crate::report::{Report, say, wrap};
use crate::run::{self, Attended, Ended, Wish};
use crate::setup;
use question::{Given, QUESTIONS};

/// What has been answered so far.
#[derive(Default)]
pub struct Answers {
    /// By the configuration's dotted paths, as written: what flags would have been.
    pub leaves: BTreeMap<String, String>,
    pub password: Option<Secret>,
    /// The password is one that was made up here.
    pub made_up: bool,
}

impl Answers {
    /// The configuration that these answers lead to, over what the command line, the environment and the file say.
    pub fn configuration(&self, host: &Host, cli: &Cli) -> Result<Config> {
        let mut cli = cli.clone();
        cli.leaves.extend(self.leaves.clone());
        let Some(password) = &self.password else { return setup::configuration(host, &cli) };
        let mut config = setup::loaded(host, &cli)?.config;
        config.server.password = Some(password.clone());
        config.server.password_file = None;
        setup::registry_input(&mut config)?;
        Ok(config)
    }
}

/// What the questions know.
struct Desk<'a> {
    host: &'a Host,
    cli: &'a Cli,
    facts: Facts,
    /// The address that this host seems to have.
    address: Option<IpAddr>,
}

/// From the welcome to the end of the installation. Returns the exit code.
pub fn wizard(host: &Host, cli: &Cli, report: &Report) -> Result<u8> {
    // Known before anybody has answered anything.
    drop(run::lock(host)?);
    let config = setup::loaded(host, cli)?.config;
    let receipt = Receipt::load(host)?.filter(|r| r.outcome != Outcome::RolledBack);
    let (facts, _) = run::look(host, &config, Reach::Local, receipt.as_ref())?;
    say(&welcome::text(&config, &facts, receipt.as_ref()));
    let settled = facts.database || receipt.as_ref().is_some_and(|r| r.reboot.is_some());
    let desk = Desk { host, cli, facts, address: address::probe(host) };
    let mut answers = Answers::default();
    let mut next = 0;
    loop {
        if !settled {
            desk.ask(&mut answers, next)?;
        }
        match install(&desk, report, &mut answers, settled)? {
            Ended::Code(code) => return Ok(code),
            Ended::Back => next = QUESTIONS.len() - 1,
        }
    }
}

/// The plan, and what follows from a yes to it.
fn install(desk: &Desk, report: &Report, answers: &mut Answers, settled: bool) -> Result<Ended> {
    if !settled && answers.made_up {
        answers.password = Some(Secret::new(random::word()?));
    }
    let config = answers.configuration(desk.host, desk.cli)?;
    let username = config.server.username.as_deref().unwrap_or_default().to_string();
    let attended = Attended::new(username, answers.password.clone().filter(|_| answers.made_up));
    say(&wrap("\nLooking at what can be had. That may take a minute.\n", 0));
    let wish = Wish {
        reboot: !desk.cli.globals.no_reboot,
        confirm: true,
        replace_edited: false,
        retry: false,
        aim: Aim::Install,
        attended: Some(&attended),
    };
    let ended = match settled {
        // There is nothing to go back to.
        true => run::install(desk.host, &config, report, Wish { attended: None, ..wish }).map(Ended::Code),
        false => run::install_or_back(desk.host, &config, report, wish),
    };
    // What has begun goes on with this password, however far it came.
    let begun = match &ended {
        Ok(Ended::Code(_)) => true,
        Ok(Ended::Back) => false,
        Err(error) => error.kind == Kind::Step && desk.host.exists(receipt::PATH),
    };
    if begun {
        attended.tell_password();
    }
    ended
}

impl Desk<'_> {
    /// Asks from the given question on; `<` goes to the one before.
    fn ask(&self, answers: &mut Answers, from: usize) -> Result<()> {
        say(&wrap(
            &format!("Enter takes what stands in brackets, {} goes back, {} or Ctrl-C stops.", ask::BACK, ask::ABORT),
            0,
        ));
        let mut at = from;
        let mut back = false;
        while let Some(question) = QUESTIONS.get(at) {
            let config = answers.configuration(self.host, self.cli)?;
            let given = match question.applies(&config) {
                true => question.ask(self, &config, answers)?,
                false if back => Given::Back,
                false => Given::Answer,
            };
            back = given == Given::Back;
            match (given, at) {
                (Given::Answer, _) => at += 1,
                (Given::Back, 0) => say(&"This is the first question."),
                (Given::Back, _) => at -= 1,
            }
        }
        Ok(())
    }
}
