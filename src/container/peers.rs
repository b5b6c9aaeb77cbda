//! Peers that a new container does not know how to reach.
//!
//! A server that starts has the keys of its peers, and not where they are. A client that was connected goes on sending
//! into a session that is gone, and asks for a new one only when it has heard nothing for fifteen seconds (WireGuard's
//! REKEY_TIMEOUT and KEEPALIVE_TIMEOUT together). So the new container is told where those are that were heard of last,
//! and begins their sessions itself.
//!
//! Where peers are can endanger people: it goes from one container to the other on standard output and input, and
//! stands in no file, no command line and no log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use xshell::cmd;

use crate::host::{Host, Limits};

/// Seconds after which a session is over (WireGuard's REJECT_AFTER_TIME).
const SESSION: i64 = 180;

/// The container's own time, then three tables: of each peer its last handshake, where it is, and its keepalive.
const ASK: &str = "date +%s
for what in latest-handshakes endpoints persistent-keepalive; do
	awg show wg0 $what 2>/dev/null || wg show wg0 $what
done";

/// What is said to an interface that is not up goes nowhere. It comes up within seconds; half a minute here is the
/// least, for a sleep that knows no fractions takes longer.
const WAIT: &str = "n=0
until [ \"$(cat /sys/class/net/wg0/operstate 2>/dev/null || echo down)\" != down ]; do
	n=$((n + 1))
	[ $n -le 300 ] || exit 0
	sleep 0.1 2>/dev/null || sleep 1
done
tool=awg
awg show wg0 >/dev/null 2>&1 || tool=wg
peers=$($tool show wg0 peers)
# A keepalive that is new is sent at once, and needs a session. One that is not there any more stays away.
call() {
	case $peers in *\"$1\"*) ;; *) return ;; esac
	$tool set wg0 peer \"$1\" endpoint \"$2\" persistent-keepalive 0
	$tool set wg0 peer \"$1\" persistent-keepalive 1
	$tool set wg0 peer \"$1\" persistent-keepalive \"$3\"
}
";

/// Where the peers are that have a session.
pub struct Peers(Vec<Peer>);

struct Peer {
    key: String,
    at: SocketAddr,
    /// Seconds, 0 for none.
    keepalive: u16,
}

impl Peers {
    /// Those of a container that runs. One that cannot be asked has none.
    pub fn of(host: &Host, name: &str) -> Peers {
        let sh = host.shell();
        let out = host.ask(cmd!(sh, "docker exec {name} /bin/sh -c {ASK}"), Limits::seconds(20));
        Peers(if out.ok() { parse(&out.stdout) } else { Vec::new() })
    }

    /// Has the container begin their sessions. Without that they come back by themselves, later: no failure counts.
    pub fn call(&self, host: &Host, name: &str) {
        if self.0.is_empty() {
            return;
        }
        let sh = host.shell();
        let limits = Limits { stdin: Some(self.script().into_bytes()), ..Limits::seconds(60) };
        host.ask(cmd!(sh, "docker exec --interactive {name} /bin/sh -s"), limits);
    }

    fn script(&self) -> String {
        self.0.iter().fold(WAIT.to_string(), |mut script, peer| {
            // Each is a key in base64, an address or a number: nothing that a shell would look at.
            _ = writeln!(script, "call {} {} {}", peer.key, peer.at, peer.keepalive);
            script
        })
    }
}

/// What is not as it should be is left out: it comes from the container.
fn parse(said: &str) -> Vec<Peer> {
    let mut lines = said.lines();
    let Some(now) = lines.next().and_then(|l| l.trim().parse::<i64>().ok()) else { return Vec::new() };
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in lines.filter_map(|l| l.split_once('\t')) {
        tables.entry(key).or_default().push(value);
    }
    let peer = |(key, values): (&str, Vec<&str>)| {
        let [last, at, keepalive] = values.as_slice() else { return None };
        let connected = last.parse::<i64>().is_ok_and(|last| last > 0 && now - last < SESSION);
        let keepalive = if *keepalive == "off" { Some(0) } else { keepalive.parse().ok() };
        let peer = Peer { key: key.into(), at: at.parse().ok()?, keepalive: keepalive? };
        (connected && is_key(key)).then_some(peer)
    };
    tables.into_iter().filter_map(peer).collect()
}

/// 32 bytes in base64.
fn is_key(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len() == 44 && text.ends_with('=') && text.bytes().take(43).all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: char) -> String {
        format!("{}=", letter.to_string().repeat(43))
    }

    fn said(peers: &[(&str, &str, &str, &str)]) -> String {
        let mut text = "1764000000\n".to_string();
        for (key, last, ..) in peers {
            text += &format!("{key}\t{last}\n");
        }
        for (key, _, at, _) in peers {
            text += &format!("{key}\t{at}\n");
        }
        for (key, _, _, keepalive) in peers {
            text += &format!("{key}\t{keepalive}\n");
        }
        text
    }

    #[test]
    fn who_has_a_session_is_called() {
        let keys = ['a', 'b', 'c', 'd'].map(key);
        let text = said(&[
            (&keys[0], "1763999990", "198.51.100.7:40000", "off"),
            (&keys[1], "1763999821", "[2001:db8::7]:40001", "25"),
            (&keys[2], "1763999820", "198.51.100.8:40000", "off"),
            (&keys[3], "0", "(none)", "off"),
        ]);
        let script = Peers(parse(&text)).script();
        let calls: Vec<&str> = script.lines().filter(|l| l.starts_with("call ")).collect();
        let wanted =
            [format!("call {} 198.51.100.7:40000 0", keys[0]), format!("call {} [2001:db8::7]:40001 25", keys[1])];
        assert_eq!(calls, wanted);
    }

    #[test]
    fn nothing_but_keys_and_addresses_is_taken_over() {
        let good = key('a');
        for (key, last, at, keepalive) in [
            ("$(reboot)", "1763999990", "198.51.100.7:1", "off"),
            ("aaaa=", "1763999990", "198.51.100.7:1", "off"),
            (&good, "1763999990", "198.51.100.7:1;reboot", "off"),
            (&good, "1763999990", "198.51.100.7:1", "off;reboot"),
            (&good, "soon", "198.51.100.7:1", "off"),
        ] {
            assert!(parse(&said(&[(key, last, at, keepalive)])).is_empty(), "{key} {last} {at} {keepalive}");
        }
        assert!(parse("").is_empty() && parse("no date\n").is_empty());
        let twice = said(&[(&good, "1763999990", "198.51.100.7:1", "off")]);
        assert_eq!(parse(&twice).len(), 1);
        assert!(parse(&format!("{twice}{good}\t25\n")).is_empty());
    }
}
