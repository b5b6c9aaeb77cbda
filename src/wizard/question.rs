//! The questions. Every answer goes through the configuration's own rules, and is asked for again until it fits.

use console::style;

use super::{Answers, Desk};
use crate::ask;
use crate::config::{Config, LeafKind, Mode, Secret, Web, check_password, leaves};
use crate::error::{Error, Result};
use crate::facts::{Facts, address::is_private, https::Https};
use crate::preflight;
use crate::report::{say, wrap};

/// In the order in which they are asked.
pub const QUESTIONS: &[Question] = &[
    Question::Host,
    Question::Username,
    Question::Password,
    Question::Web,
    Question::Email,
    Question::Port,
    Question::Mode,
];

/// Ports that are offered where the usual one is taken.
const PORTS: std::ops::Range<u16> = 51820..51900;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Host,
    Username,
    Password,
    Web,
    /// Of the account with the certificate authority.
    Email,
    Port,
    Mode,
}

/// What an answer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Answer,
    Back,
}

impl Question {
    /// Whether it is to be asked at all, after the answers before it.
    pub fn applies(self, config: &Config) -> bool {
        let named = || config.server.host.as_ref().is_some_and(|h| h.address().is_none());
        self != Question::Email || config.server.web == Web::Https && named()
    }

    pub fn ask(self, desk: &Desk, config: &Config, answers: &mut Answers) -> Result<Given> {
        say(&format!("\n{}", style(self.title()).bold()));
        for line in self.about(desk, config, answers) {
            say(&wrap(&format!("  {line}"), 0));
        }
        if self == Question::Password {
            return password(desk, config, answers);
        }
        let choices = self.choices();
        for (index, (word, help)) in choices.iter().enumerate() {
            say(&wrap(&format!("  {}. {word:<10} {help}", index + 1), 16));
        }
        let default = self.default(desk, config);
        let prompt = default.as_ref().map_or("  >".to_string(), |d| format!("  [{d}] >"));
        loop {
            let typed = ask::line(desk.host, &prompt)?;
            if typed == ask::BACK {
                return Ok(Given::Back);
            }
            let Some(text) = Some(typed).filter(|t| !t.is_empty()).or(default.clone()) else {
                if self == Question::Email {
                    answers.leaves.remove(self.path());
                    return Ok(Given::Answer);
                }
                say(&"  An answer is needed.");
                continue;
            };
            // A number stands for the word beside it.
            let chosen = text.parse().ok().and_then(|n: usize| choices.get(n.checked_sub(1)?));
            let text = chosen.map_or(text.clone(), |(word, _)| word.clone());
            match self.take(desk, answers, &text) {
                Err(error) => refuse(&error),
                Ok(config) if self == Question::Mode && config.mode == Mode::Wireguard && !insist(desk)? => {
                    answers.leaves.remove(self.path());
                }
                Ok(_) => return Ok(Given::Answer),
            }
        }
    }

    /// Takes an answer that the configuration and this host accept; another one leaves all as it was.
    fn take(self, desk: &Desk, answers: &mut Answers, text: &str) -> Result<Config> {
        if matches!(self, Question::Host | Question::Web) {
            // It depends on both, and is asked for after them.
            answers.leaves.remove(Question::Email.path());
        }
        let before = answers.leaves.insert(self.path().into(), text.into());
        let taken = answers.configuration(desk.host, desk.cli).and_then(|config| {
            if matches!(self, Question::Port | Question::Web) {
                // The port has a question of its own.
                let port = if self == Question::Port { config.server.port } else { 0 };
                free(&config, &desk.facts, port)?;
            }
            Ok(config)
        });
        if taken.is_err() {
            match before {
                Some(before) => answers.leaves.insert(self.path().into(), before),
                None => answers.leaves.remove(self.path()),
            };
        }
        taken
    }

    /// The key that it is about.
    fn path(self) -> &'static str {
        match self {
            Question::Host => "server.host",
            Question::Username => "server.username",
            Question::Password => "server.password",
            Question::Web => "server.web",
            Question::Email => "server.https.email",
            Question::Port => "server.port",
            Question::Mode => "mode",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Question::Host => "Public name or address of this host",
            Question::Username => "Administrator's name",
            Question::Password => "Administrator's password",
            Question::Web => "Who can open the admin page?",
            Question::Email => "E-mail address for the certificate authority",
            Question::Port => "UDP port of the tunnel",
            Question::Mode => "What carries the tunnel?",
        }
    }

    fn about(self, desk: &Desk, config: &Config, answers: &Answers) -> Vec<String> {
        match self {
            Question::Host => {
                let mut lines =
                    vec!["Clients connect to it. A DNS name can be moved to another host later.".to_string()];
                if let Some(address) = desk.address.filter(|a| is_private(*a)) {
                    lines.push(format!(
                        "This host's own address, {address}, is a private one: give a name that leads here, or the \
                         public address that the provider shows."
                    ));
                }
                lines
            }
            Question::Username => vec!["For the login on the admin page.".into()],
            Question::Password => {
                let kept = is_given(config) && !answers.made_up;
                let empty = if kept { "keeps the one that is there" } else { "has one made up" };
                vec![format!("At least 12 characters; it is not shown. Enter alone {empty}.")]
            }
            Question::Web => {
                let address = config.server.host.as_ref().and_then(|h| h.address());
                let warned = |a| {
                    format!(
                        "With https, browsers warn of the certificate for an address ({a}), not of one for a DNS name."
                    )
                };
                address.map(warned).into_iter().collect()
            }
            Question::Email => {
                vec!["It writes there when a certificate is about to expire. Enter alone gives none.".into()]
            }
            Question::Port => {
                let taken = desk.facts.network.udp.get(&config.server.port).filter(|_| !is_ours(&desk.facts));
                let taken = taken.map(|_| format!("{} is taken by another program.", config.server.port));
                taken.into_iter().chain(["Clients need it to be open where the provider filters.".into()]).collect()
            }
            Question::Mode => Vec::new(),
        }
    }

    /// The words to choose from, with the help of the configuration itself.
    fn choices(self) -> Vec<(String, String)> {
        let leaf = leaves().iter().find(|l| l.path == self.path());
        let Some(LeafKind::Choice(choices)) = leaf.map(|l| &l.kind) else { return Vec::new() };
        let help = |word: &str, help: &str| match (self, word) {
            (Question::Mode, "auto") => format!("{help} (recommended)"),
            (Question::Mode, "wireguard") => format!("{help}; asks once more"),
            _ => help.to_string(),
        };
        choices.iter().map(|c| (c.word.clone(), help(&c.word, &c.help))).collect()
    }

    fn default(self, desk: &Desk, config: &Config) -> Option<String> {
        let server = &config.server;
        match self {
            Question::Host => {
                let own = desk.address.filter(|a| !is_private(*a)).map(|a| a.to_string());
                server.host.as_ref().map(ToString::to_string).or(own)
            }
            Question::Username => Some(server.username.as_deref().unwrap_or("admin").to_string()),
            Question::Password => None,
            Question::Web => Some(server.web.to_string()),
            Question::Email => server.https.email.as_ref().map(ToString::to_string),
            Question::Port => {
                let free = |port: &u16| free(config, &desk.facts, *port).is_ok();
                std::iter::once(server.port).chain(PORTS).find(free).map(|port| port.to_string())
            }
            // Plain WireGuard is never what Enter leads to.
            Question::Mode => Some(config.mode).filter(|m| *m != Mode::Wireguard).map(|m| m.to_string()),
        }
    }
}

/// Whether what is to be published is free here, with this port for the tunnel.
fn free(config: &Config, facts: &Facts, port: u16) -> Result<()> {
    let mut config = config.clone();
    config.server.port = port;
    let mut facts = facts.clone();
    if config.server.web == Web::Https {
        facts.https.get_or_insert_with(Https::default);
    }
    preflight::ports(&config, &facts)
}

fn is_ours(facts: &Facts) -> bool {
    facts.container.is_some()
}

/// A password has come from elsewhere; standard input is the terminal that is being asked.
fn is_given(config: &Config) -> bool {
    config.server.password.is_some() || config.server.password_file.as_deref().is_some_and(|f| f != "-")
}

fn password(desk: &Desk, config: &Config, answers: &mut Answers) -> Result<Given> {
    loop {
        let typed = ask::secret(desk.host, "  >")?;
        if *typed == ask::BACK {
            return Ok(Given::Back);
        }
        if typed.is_empty() {
            answers.made_up |= !is_given(config);
            if answers.made_up {
                say(&"  One is made up, and shown when it is needed.");
            }
            return Ok(Given::Answer);
        }
        if let Err(error) = check_password(&typed) {
            refuse(&error);
            continue;
        }
        if ask::secret(desk.host, "  Once more >")? != typed {
            say(&"  The two differ.");
            continue;
        }
        answers.password = Some(Secret::new(typed.as_str()));
        answers.made_up = false;
        return Ok(Given::Answer);
    }
}

/// Plain WireGuard is taken only by who has read what it means.
fn insist(desk: &Desk) -> Result<bool> {
    say(&wrap(
        "  Plain WireGuard can be recognised on the wire and blocked: what this program is for is lost. Type the word \
         wireguard once more to take it all the same; Enter chooses again.",
        0,
    ));
    Ok(ask::line(desk.host, "  >")? == Mode::Wireguard.as_str())
}

/// Says what is wrong with an answer. It was no flag for whoever typed it.
fn refuse(error: &Error) {
    let message = &error.message;
    let message = match message.split_once(": ") {
        Some((origin, rest)) if origin.starts_with("flag --") => rest,
        _ => message,
    };
    let more = [&error.cause, &error.remedy].into_iter().flatten();
    for line in std::iter::once(message).chain(more.map(String::as_str)) {
        say(&wrap(&format!("  {line}"), 2));
    }
}
