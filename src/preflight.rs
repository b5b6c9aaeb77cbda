//! What can be known to fail is found before anything is changed.

use crate::choice::Choice;
use crate::config::{Config, Release, Web};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::owned::Rung;
use crate::receipt::Receipt;

/// MiB that a container engine and an image need at most.
pub const NEED_ENGINE: u64 = 400;
pub const NEED_IMAGE: u64 = 300;
/// MiB of memory below which the container is likely to be killed.
const LITTLE_MEMORY: u64 = 400;
/// The first kernel series of Alpine without `ip_tables` (3.23 has 6.18).
const NO_IP_TABLES: (u32, u32) = (6, 18);

/// Refuses what cannot work, with the reason and the remedy.
pub fn check(config: &Config, facts: &Facts, choice: &Choice) -> Result<()> {
    not_yet(config)?;
    if !matches!(facts.arch.as_str(), "x86_64" | "aarch64") {
        return Err(Error::host(format!("the image does not exist for {}", facts.arch))
            .remedy("use an x86_64 or aarch64 machine"));
    }
    if let Some(kind) = &facts.os.container
        && !facts.os.tun
    {
        return Err(Error::host(format!("this is a {kind} container without /dev/net/tun"))
            .remedy("use a virtual machine, or have TUN switched on"));
    }
    if !facts.database {
        config.require_server()?;
    }
    running_kernel(facts, choice)?;
    programs(config, facts, choice)?;
    ports(config, facts)?;
    engine(facts)?;
    iptables(facts, choice)?;
    space(facts)
}

/// A server keeps the port of its first start in its database: another one that is published leads nowhere.
/// What it has written down itself is what counts, so that a port that was changed on the admin page can be
/// followed.
pub fn port_stays(config: &Config, facts: &Facts) -> Result<()> {
    let wanted = config.server.port;
    match facts.listen_port.filter(|port| facts.database && *port != wanted) {
        None => Ok(()),
        Some(port) => Err(Error::host(format!("server.port is {wanted}, and the server listens on {port}"))
            .cause("it keeps its port in its database since its first start; publishing another one would cut off every client")
            .remedy(format!("set server.port to {port}; to move, change the port on the admin page first, then here"))),
    }
}

/// Things worth saying in the plan.
pub fn notes(config: &Config, facts: &Facts, receipt: Option<&Receipt>, choice: &Choice) -> Vec<String> {
    let mut notes = Vec::new();
    if choice.rung == Rung::Wireguard {
        notes.push("plain WireGuard can be recognised on the wire and blocked".into());
    }
    if choice.degraded {
        notes.push(format!("below what this host could do: {}; exit code 8", choice.why));
    }
    if let Some(open) = &choice.open {
        notes.push(format!("{open}; the rest of the plan follows from what is found"));
    }
    notes.extend(held(config, facts, receipt, choice));
    notes.extend(out_of_reach(config, facts, receipt));
    if config.server.web == Web::Public {
        notes.push(format!(
            "server.web: public opens tcp {} for everybody, over plain http: the password can be read on its way",
            config.server.web_port
        ));
    }
    if facts.os.diskless {
        notes.push("the root file system lives in memory: commit with `lbu` what must survive a reboot".into());
    }
    if facts.memory_mib > 0 && facts.memory_mib < LITTLE_MEMORY {
        notes.push(format!("only {} MiB of memory: the container may be killed under load", facts.memory_mib));
    }
    if facts.apk.as_ref().is_some_and(|a| !a.asked && a.offered_problem.is_none() && a.offered.is_empty()) {
        notes.push("the repositories were not asked: that they have the packages is an assumption, checked before anything changes".into());
    }
    if let Some(problem) = facts.apk.as_ref().and_then(|a| a.offered_problem.as_ref()) {
        notes.push(format!("what the repositories offer may be out of date: {problem}"));
    }
    notes
}

/// Settings that were given otherwise than at the server's first start, which is the only time it reads them.
fn out_of_reach(config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> Option<String> {
    let taken = receipt.map(|r| &r.first_start).filter(|_| facts.database)?;
    let differs = |(key, value): &(String, serde_json::Value)| {
        key != "server.port" && taken.get(key).is_some_and(|then| then != value)
    };
    let keys: Vec<String> = config.first_start().into_iter().filter(differs).map(|(key, _)| key).collect();
    let keys = Some(keys.join(", ")).filter(|k| !k.is_empty())?;
    Some(format!("{keys}: read at the server's first start only; change this on the admin page as well"))
}

/// Since when the kernel is held, and what is newer.
pub fn held(config: &Config, facts: &Facts, receipt: Option<&Receipt>, choice: &Choice) -> Option<String> {
    let release = choice.release.as_deref()?.parse::<Release>().ok()?;
    let apk = facts.apk.as_ref().filter(|_| config.kernel.hold)?;
    let since = receipt.and_then(|r| r.held_since(&release.package(), choice.release.as_deref()?));
    let since = since.map(|s| format!(" since {}", s.split('T').next().unwrap_or_default())).unwrap_or_default();
    let newest = apk.kernels(release.flavour()).into_iter().next().filter(|newest| *newest > release);
    let newer = match newest {
        Some(newest) => format!("; the repository has {} (`awg-install upgrade`)", newest.package_version()),
        None => String::new(),
    };
    Some(format!("{} is held{since}: it gets no security fixes meanwhile{newer}", release.pin()))
}

/// Settings that the configuration knows and this version cannot carry out yet.
fn not_yet(config: &Config) -> Result<()> {
    let key = match () {
        () if config.server.web == Web::Https => "server.web: https",
        () => return Ok(()),
    };
    Err(Error::host(format!("{key}: this version cannot do that yet"))
        .remedy("leave the setting out; `awg-install render config` shows the defaults"))
}

/// A kernel that was upgraded since the boot has taken the running one's modules away: nothing that is not
/// loaded yet can be loaded, and the engine would not start.
fn running_kernel(facts: &Facts, choice: &Choice) -> Result<()> {
    let running = &facts.kernel.running;
    // The restart into it is what is planned anyway, and what is needed until then is loaded.
    if facts.engine.answers && choice.release.as_ref().is_some_and(|r| r != running) {
        return Ok(());
    }
    let here = |k: &&crate::facts::InstalledKernel| running.ends_with(&format!("-{}", k.flavour));
    match facts.kernel.installed.iter().find(here) {
        Some(newer) if newer.release != *running => Err(Error::host(format!(
            "{running} runs, and its modules are gone: {} was installed since the last boot",
            newer.release
        ))
        .cause("what is not loaded yet cannot be loaded any more, and the container engine would not start")
        .remedy("restart the host (`reboot`), then run this again")),
        _ => Ok(()),
    }
}

/// The programs in the image that carry the tunnel.
pub fn programs_of(rung: Rung) -> &'static [&'static str] {
    match rung {
        Rung::Kernel => &["awg", "awg-quick"],
        Rung::Userspace => &["awg", "awg-quick", "amneziawg-go"],
        Rung::Wireguard => &["wg", "wg-quick"],
    }
}

fn programs(config: &Config, facts: &Facts, choice: &Choice) -> Result<()> {
    let known = facts.engine.image.as_ref().and_then(|i| i.programs.as_ref());
    let (Some(known), None) = (known, &choice.open) else { return Ok(()) };
    match lacking(known, choice.rung) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(image_lacks(&config.container.image.to_string(), choice.rung, &missing)),
    }
}

/// Programs of a mode that an image does not have.
pub fn lacking(known: &[String], rung: Rung) -> Vec<&'static str> {
    programs_of(rung).iter().filter(|p| !known.iter().any(|k| k == *p)).copied().collect()
}

pub fn image_lacks(image: &str, rung: Rung, missing: &[&str]) -> Error {
    Error::host(format!("{image} lacks what the {} mode needs: {}", rung.as_str(), missing.join(", ")))
        .remedy("name an image that has it (container.image), or another mode")
}

fn ports(config: &Config, facts: &Facts) -> Result<()> {
    if let Some(container) = &facts.container {
        if container.revision.is_empty() {
            return Err(Error::host(format!(
                "a container named {} exists that this program did not make",
                config.container.name
            ))
            .remedy("choose another container.name, or remove that container"));
        }
        // Our own container holds its ports.
        return Ok(());
    }
    let taken = |key: &str, port: u16, held: Option<&String>| match held {
        None => Ok(()),
        Some(by) => {
            let by = if by.is_empty() { "a process that cannot be told".to_string() } else { by.clone() };
            Err(Error::host(format!("{key} {port} is taken"))
                .cause(format!("{by} listens on it"))
                .remedy(format!("stop it, or set {key} to a free port")))
        }
    };
    taken("server.port", config.server.port, facts.network.udp.get(&config.server.port))?;
    if config.server.web == Web::Public {
        taken("server.web_port", config.server.web_port, facts.network.tcp.get(&config.server.web_port))?;
    }
    Ok(())
}

fn engine(facts: &Facts) -> Result<()> {
    if facts.engine.answers && !facts.engine.compose.is_empty() {
        return Ok(());
    }
    let Some(apk) = &facts.apk else {
        return Err(Error::host("there is no container engine with compose here")
            .cause(match &facts.engine.problem {
                Some(why) => format!("docker is installed and does not answer: {why}"),
                None if facts.engine.installed => "docker is installed, and its engine or compose is missing".into(),
                None => "docker is not installed".into(),
            })
            .remedy("install docker and its compose plugin by the distribution's own means, then run this again"));
    };
    for package in ["docker", "docker-cli-compose"] {
        let answered = apk.asked || apk.offered_problem.is_some();
        if !apk.installed.contains_key(package) && !apk.offered.contains_key(package) && answered {
            return Err(Error::host(format!("the package {package} cannot be had"))
                .cause(apk.offered_problem.clone().unwrap_or_else(|| "no enabled repository offers it".into()))
                .remedy("check /etc/apk/repositories and the network (`apk update`)"));
        }
    }
    Ok(())
}

fn iptables(facts: &Facts, choice: &Choice) -> Result<()> {
    let release = choice.release.as_deref().unwrap_or(&facts.kernel.running);
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if facts.os.id == "alpine" && version >= NO_IP_TABLES && !facts.modules.loaded.contains("ip_tables") {
        return Err(Error::host(format!(
            "kernel {release} has no ip_tables, and the image insists on iptables-legacy"
        ))
        .cause("in every mode the container would restart for ever")
        .remedy("use Alpine 3.21 or 3.22 (kernel 6.12)"));
    }
    Ok(())
}

fn space(facts: &Facts) -> Result<()> {
    let need = [(!facts.engine.installed, NEED_ENGINE), (facts.engine.image.is_none(), NEED_IMAGE)];
    let need: u64 = need.iter().filter(|(wanted, _)| *wanted).map(|(_, mib)| mib).sum();
    match facts.free_mib.get("/").filter(|free| **free < need) {
        None => Ok(()),
        Some(free) => Err(Error::host(format!("/ has {free} MiB free, {need} MiB are needed"))
            .remedy("free some space or use a larger disk")),
    }
}
