//! Configurations damaged in many ways: never a panic, and every error says where to look.

use super::{FULL, file, said};
use crate::config::{leaves, load, render_example};
use crate::error::Kind;

/// Numbers that are the same on every run, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

const VALUES: &[&str] = &[
    "",
    "null",
    "true",
    "-1",
    "0",
    "65536",
    "1e999",
    ".nan",
    "0x1F",
    "[]",
    "{}",
    "[[[]]]",
    "auto",
    "yes",
    "\"\"",
    "'\\0'",
    "\"\\u0000\"",
    "\"\\e[2J\"",
    "*a",
    "&a x",
    "!t x",
    "|\n  block",
    "2001:db8::/129",
    "10.0.0.0/0",
    "../..",
    "%s%n",
    "$(reboot)",
    "\u{202e}",
    "🦀",
    "- -",
    "? :",
    "@",
    "`",
];

fn mutate(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    if lines.is_empty() {
        return text.to_string();
    }
    let at = dice.roll(lines.len());
    match dice.roll(9) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[dice.roll(lines.len())].clone()),
        2 => {
            let other = dice.roll(lines.len());
            lines.swap(at, other);
        }
        3 => lines[at] = format!(" {}", lines[at]),
        4 => lines[at] = lines[at].trim_start().to_string(),
        5 => {
            if let Some((key, _)) = lines[at].clone().split_once(':') {
                lines[at] = format!("{key}: {}", VALUES[dice.roll(VALUES.len())]);
            }
        }
        6 => {
            let mut letters: Vec<char> = lines[at].chars().collect();
            if !letters.is_empty() {
                let spot = dice.roll(letters.len());
                letters[spot] = char::from_u32(dice.roll(0x250) as u32).unwrap_or('x');
                lines[at] = letters.into_iter().collect();
            }
        }
        7 => {
            let mut letters: Vec<char> = lines[at].chars().collect();
            if letters.len() > 1 {
                let spot = dice.roll(letters.len() - 1);
                letters.swap(spot, spot + 1);
                lines[at] = letters.into_iter().collect();
            }
        }
        _ => lines.truncate(at),
    }
    lines.join("\n")
}

#[test]
fn no_damage_goes_unexplained() {
    // Comments only cost time here: whether they are kept apart is the YAML crate's business.
    let example = render_example();
    let example: Vec<&str> = example.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let example = example.join("\n");
    let mut dice = Dice(20_250_101);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..1_000 {
        let mut text = if round % 2 == 0 { FULL.to_string() } else { example.clone() };
        for _ in 0..=dice.roll(3) {
            text = mutate(&text, &mut dice);
        }
        match load(&file(&text)) {
            Ok(_) => accepted += 1,
            Err(err) => {
                refused += 1;
                let said = said(&err);
                let names_key = leaves().iter().any(|l| said.contains(&l.path));
                assert_eq!(err.kind, Kind::Config);
                assert!(said.contains("config.yaml") || names_key, "round {round}: {said}\n{text}");
                assert!(!said.chars().any(char::is_control) && said.len() < 600, "round {round}: {said:?}");
                assert!(!said.contains("invalid type"), "round {round}: {said}");
            }
        }
    }
    // Both must happen, or the damage was none or always the same.
    assert!(accepted > 50 && refused > 250, "{accepted} accepted, {refused} refused");
}

#[test]
fn damaged_flags_and_variables_name_themselves() {
    let mut dice = Dice(7);
    let mut refused = 0;
    for _ in 0..1_000 {
        let leaf = &leaves()[dice.roll(leaves().len())];
        let mut value: String = VALUES[dice.roll(VALUES.len())].into();
        value.insert(0, char::from_u32(1 + dice.roll(0x250) as u32).unwrap_or('x'));
        let (Some(flag), Some(variable)) = (leaf.flag(), leaf.variable()) else { continue };
        let mut by_flag = file("");
        by_flag.flags.insert(leaf.path.clone(), value.clone());
        let mut by_variable = file("");
        by_variable.environment.insert(variable.clone(), value);
        match (load(&by_flag), load(&by_variable)) {
            (Ok(one), Ok(other)) => assert_eq!(one.config, other.config),
            (Err(one), Err(other)) => {
                refused += 1;
                let (one, other) = (said(&one), said(&other));
                assert!(one.contains(&leaf.path) && other.contains(&leaf.path), "{one} / {other}");
                assert_eq!(
                    one.replace(&format!("flag --{flag}"), "X"),
                    other.replace(&format!("environment {variable}"), "X")
                );
            }
            (one, other) => panic!("{}: {:?} against {:?}", leaf.path, one.is_ok(), other.is_ok()),
        }
    }
    assert!(refused > 300, "{refused}");
}
