//! One flag per key of the configuration.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, StyledStr, TypedValueParser};
use clap::{Arg, ArgMatches, Command, Error};

use super::Exit;
use crate::config::{Leaf, LeafKind, leaves};

/// Every configuration flag, to be taken by all commands.
pub(super) fn args() -> Vec<Arg> {
    leaves().iter().filter_map(|leaf| Some(arg(leaf, leaf.flag()?))).collect()
}

/// Flags that people will try, known so that they can be refused with the alternatives.
pub(super) fn passwords() -> impl Iterator<Item = Arg> {
    let refused = |name: String| {
        let arg = Arg::new(name.clone()).long(name).global(true).hide(true);
        arg.num_args(0..=1).value_parser(Unchecked::default())
    };
    secrets().map(move |leaf| refused(dashed(leaf)))
}

/// Refuses a secret on the command line, without repeating it.
pub(super) fn refuse_passwords(matches: &ArgMatches) -> Result<(), Exit> {
    let Some(leaf) = secrets().find(|leaf| matches.contains_id(&dashed(leaf))) else { return Ok(()) };
    let (flag, variable) = (dashed(leaf), leaf.variable().unwrap_or_default());
    Err(Exit::usage(
        "a password on the command line is visible to every user of this host",
        &format!(
            "put it in a file (--{flag}-file FILE), in {variable}, or give it on standard input (--{flag}-file -)"
        ),
    ))
}

fn secrets() -> impl Iterator<Item = &'static Leaf> {
    leaves().iter().filter(|leaf| leaf.secret)
}

fn dashed(leaf: &Leaf) -> String {
    leaf.path.replace(['.', '_'], "-")
}

/// The values that were given, by dotted path.
pub(super) fn given(matches: &ArgMatches) -> BTreeMap<String, String> {
    let value = |leaf: &Leaf| Some((leaf.path.clone(), matches.get_one::<String>(&leaf.flag()?)?.clone()));
    leaves().iter().filter_map(value).collect()
}

fn arg(leaf: &'static Leaf, flag: String) -> Arg {
    let arg = Arg::new(flag.clone())
        .long(flag)
        .global(true)
        .hide_short_help(true)
        .help_heading("Configuration")
        .help(help(leaf))
        .value_name(value_name(leaf))
        .value_parser(Unchecked { words: words(leaf) });
    match leaf.kind {
        LeafKind::Boolean => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // A value may begin with a dash only where one has a meaning: standard input.
        _ => arg.num_args(1),
    }
}

fn help(leaf: &'static Leaf) -> StyledStr {
    let text = leaf.description.trim_end_matches('.');
    match &leaf.default {
        Some(value) if value.as_array().is_some_and(Vec::is_empty) => text.into(),
        Some(value) => {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            format!("{text} [default: {value}]").into()
        }
        None => text.into(),
    }
}

fn value_name(leaf: &Leaf) -> &'static str {
    match leaf.kind {
        LeafKind::Boolean => "BOOL",
        LeafKind::Integer { .. } => "NUMBER",
        LeafKind::Text => "TEXT",
        LeafKind::List => "LIST",
        LeafKind::Choice(_) => "WORD",
    }
}

fn words(leaf: &Leaf) -> Vec<(String, String)> {
    match &leaf.kind {
        LeafKind::Choice(choices) => choices.iter().map(|c| (c.word.clone(), c.help.clone())).collect(),
        LeafKind::Boolean => ["true", "false"].map(|w| (w.into(), String::new())).into(),
        _ => Vec::new(),
    }
}

/// Knows a flag's words for help and completion, but lets the configuration judge the value:
/// a wrong value is the same error, with the same exit code, wherever it was written.
#[derive(Clone, Default)]
struct Unchecked {
    words: Vec<(String, String)>,
}

impl TypedValueParser for Unchecked {
    type Value = String;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        let invalid = || Error::new(clap::error::ErrorKind::InvalidUtf8).with_cmd(command);
        value.to_str().map(str::to_string).ok_or_else(invalid)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        if self.words.is_empty() {
            return None;
        }
        let value = |(word, help): &(String, String)| {
            let value = PossibleValue::new(word.clone());
            if help.is_empty() { value } else { value.help(help.clone()) }
        };
        Some(Box::new(self.words.iter().map(value)))
    }
}
