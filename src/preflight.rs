//! What can be known to fail is found before anything is changed.

mod ports;

use crate::choice::Choice;
use crate::config::{Config, Firewall, Ipv6, Mode, Privilege, Release, Web};
use crate::error::{Error, Result};
use crate::facts::{Engine, Facts, Os, kernel::EXTRA};
use crate::module;
use crate::owned::{BRIDGE, Backend, Rung, own_authority};
use crate::receipt::Receipt;

/// MiB that a container engine and an image need at most.
pub const NEED_ENGINE: u64 = 400;
pub const NEED_IMAGE: u64 = 300;
const NEED_CADDY: u64 = 80;
/// MiB of memory below which the container is likely to be killed.
const LITTLE_MEMORY: u64 = 400;
/// What iptables-nft is called, which an image needs where the kernel has no `ip_tables`.
const NFT: &str = "iptables-nft";

/// Refuses what cannot work, with the reason and the remedy.
pub fn check(config: &Config, facts: &Facts, choice: &Choice) -> Result<()> {
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
    image(config, facts)?;
    programs(config, facts, choice)?;
    userspace(config, facts)?;
    ports::check(config, facts)?;
    engine(facts)?;
    space(facts)
}

/// The image's `awg-quick` takes the kernel's module wherever it can be had, whatever was asked for.
fn userspace(config: &Config, facts: &Facts) -> Result<()> {
    if config.mode != Mode::Userspace || !facts.modules.loaded.contains(module::NAME) {
        return Ok(());
    }
    let file = format!("/lib/modules/{}/{EXTRA}", facts.kernel.running);
    Err(Error::host("mode is userspace, and the kernel module amneziawg is loaded on this host")
        .cause("the container would use the module, and the kernel loads it by itself as long as it can be found")
        .remedy(format!("set mode: auto or kernel; or take the module away (move {file}, depmod, restart the host)")))
}

/// Every port that is published is free, or held by our own containers.
pub fn ports(config: &Config, facts: &Facts) -> Result<()> {
    ports::check(config, facts)
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

/// Things worth saying in the plan. `acts`: it has steps.
pub fn notes(config: &Config, facts: &Facts, receipt: Option<&Receipt>, choice: &Choice, acts: bool) -> Vec<String> {
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
    if config.server.web == Web::Https {
        notes.push(page(config));
        if config.bundle.path.is_some() && facts.https.as_ref().is_some_and(|h| h.image.is_none()) {
            notes.push(format!("no bundle holds {}: it comes from its registry", config.server.https.image));
        }
    }
    if config.container.privilege == Privilege::Documented {
        // accept_privileged has allowed it; it is called what it is all the same.
        let whoever = match config.server.web {
            Web::Local => "whoever controls the container",
            Web::Public | Web::Https => "whoever has the admin page's password, from anywhere,",
        };
        notes.push(format!("container.privilege: documented: {whoever} is root on this host"));
    }
    if facts.memory_mib > 0 && u64::from(config.container.memory) > facts.memory_mib {
        notes.push(format!(
            "container.memory: {} MiB are more than this host has ({} MiB): the limit is without effect",
            config.container.memory, facts.memory_mib
        ));
    }
    notes.extend(filters(config, facts, choice));
    if facts.engine.settings.no_iptables {
        notes.push(
            "the engine makes no firewall rules (iptables: false in /etc/docker/daemon.json): clients reach the internet \
             only where rules of your own masquerade the container's network, and the server sees no client's address"
                .into(),
        );
    }
    if facts.os.init == "systemd" && facts.services.get("docker").is_some_and(|d| d.installed && d.runlevels.is_empty())
    {
        notes.push("docker is not started at boot, and the container with it: `systemctl enable docker`".into());
    }
    if facts.os.diskless {
        notes.push("the root file system lives in memory: commit with `lbu` what must survive a reboot".into());
    }
    if facts.memory_mib > 0 && facts.memory_mib < LITTLE_MEMORY {
        notes.push(format!("only {} MiB of memory: the container may be killed under load", facts.memory_mib));
    }
    if acts && facts.apk.as_ref().is_some_and(|a| !a.asked && a.offered_problem.is_none() && a.offered.is_empty()) {
        notes.push("the repositories were not asked: that they have the packages is an assumption, checked before anything changes".into());
    }
    if let Some(problem) = facts.apk.as_ref().and_then(|a| a.offered_problem.as_ref()) {
        notes.push(format!("what the repositories offer may be out of date: {problem}"));
    }
    notes
}

/// Who can open the page, and what its certificate is worth.
fn page(config: &Config) -> String {
    let (https, host) = (&config.server.https, config.server.host.as_deref().unwrap_or("SERVER"));
    let open = format!("server.web: https opens tcp {} and {} for everybody", https.port, https.http_port);
    match (own_authority(config), &https.acme_directory) {
        (true, _) => format!(
            "{open}; {host} is an address, so the certificate comes from an authority that Caddy makes here: browsers warn until \
             its root certificate is imported, whose fingerprint is told at the end"
        ),
        (false, directory) => {
            let authority = directory.as_ref().map_or("the certificate authority".to_string(), ToString::to_string);
            format!("{open}; {authority} must reach this host as {host} there, before there is a certificate")
        }
    }
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

/// One that is here must fit; what is to be pulled from a registry may need a login.
fn image(config: &Config, facts: &Facts) -> Result<()> {
    match &facts.engine.image {
        Some(image) => image.misfit(&config.container.image.to_string(), &facts.arch).map_or(Ok(()), Err),
        None if facts.apk.as_ref().is_some_and(|a| a.bundled) => Ok(()),
        None => config.require_login(),
    }
}

/// All that an image must have: the mode's programs, and iptables for the kernel that runs it.
pub fn wanted(rung: Rung, backend: Backend) -> impl Iterator<Item = &'static str> {
    programs_of(rung).iter().copied().chain((backend == Backend::Nft).then_some(NFT))
}

fn programs(config: &Config, facts: &Facts, choice: &Choice) -> Result<()> {
    let known = facts.engine.image.as_ref().and_then(|i| i.programs.as_ref());
    let (Some(known), None) = (known, &choice.open) else { return Ok(()) };
    match lacking(known, choice.rung, backend(facts, choice)) {
        missing if missing.is_empty() => Ok(()),
        missing if missing == [NFT] => Err(Error::host(format!(
            "kernel {} has no ip_tables, and {} brings iptables-legacy only",
            will_run(facts, choice),
            config.container.image
        ))
        .cause("in every mode the container would restart for ever")
        .remedy("name an image that has iptables-nft as well, or use a kernel with ip_tables (Alpine 3.21, 3.22)")),
        missing => Err(image_lacks(&config.container.image.to_string(), choice.rung, &missing)),
    }
}

/// Programs of a mode that an image does not have.
pub fn lacking(known: &[String], rung: Rung, backend: Backend) -> Vec<&'static str> {
    wanted(rung, backend).filter(|p| !known.iter().any(|k| k == p)).collect()
}

pub fn image_lacks(image: &str, rung: Rung, missing: &[&str]) -> Error {
    Error::host(format!("{image} lacks what the {} mode needs: {}", rung.as_str(), missing.join(", ")))
        .remedy("name an image that has it (container.image), or another mode")
}

fn engine(facts: &Facts) -> Result<()> {
    usable(&facts.engine)?;
    if facts.engine.answers && !facts.engine.compose.is_empty() {
        return Ok(());
    }
    let Some(apk) = &facts.apk else {
        let engine = &facts.engine;
        let start = match facts.os.init.as_str() {
            "systemd" => "systemctl enable --now docker",
            _ => "start docker",
        };
        return Err(Error::host("there is no container engine with compose here")
            .cause(match &engine.problem {
                Some(why) => format!("docker is installed: {why}"),
                None if engine.answers => "docker is installed, and compose is missing".into(),
                None if engine.installed => "docker is installed, and its engine does not run".into(),
                None => "docker is not installed".into(),
            })
            .remedy(match &engine.problem {
                Some(why) if engine.installed => {
                    format!("see why ({why}): `journalctl -u docker`; then run this again")
                }
                None if engine.installed && !engine.answers => format!("{start}; then run this again"),
                _ => format!("{}; then run this again", packages_of(&facts.os)),
            }));
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

/// How a distribution installs docker with compose.
fn packages_of(os: &Os) -> String {
    match (os.id.as_str(), os.version.as_str()) {
        ("debian", "11" | "12") => {
            "install docker-ce and docker-compose-plugin from download.docker.com (docker-compose of Debian 12 and older \
             is version 1)"
                .into()
        }
        ("debian", _) => "apt-get install docker.io docker-cli docker-compose".into(),
        ("ubuntu", _) => "apt-get install docker.io docker-compose-v2".into(),
        _ => "install docker and its compose plugin by the distribution's own means".into(),
    }
}

/// An engine that is there, and that this installation cannot work with.
fn usable(engine: &Engine) -> Result<()> {
    let refuse = |what: &str, why: &str, remedy: &str| Err(Error::host(what).cause(why).remedy(remedy));
    if let Some(other) = &engine.emulated_by {
        return refuse(
            &format!("{other} answers in docker's place"),
            "its networks, restarts and health checks differ, and nothing here was tried with it",
            "install docker itself, without podman-docker",
        );
    }
    if engine.settings.rootless {
        return refuse(
            "the container engine runs without root's rights",
            "it can neither use the host's kernel modules nor keep the clients' addresses",
            "use an engine that runs as root",
        );
    }
    if engine.settings.user_namespace {
        return refuse(
            "the container engine gives root in a container another user (userns-remap)",
            "the server's data belongs to root, and it must change the network as root",
            "take userns-remap out of /etc/docker/daemon.json, and restart docker",
        );
    }
    if engine.compose_version.starts_with("1.") {
        return refuse(
            &format!("docker-compose is version {}", engine.compose_version),
            "the compose file is for version 2; the first generation has had no updates since 2023",
            "install the compose plugin: docker-compose-plugin of Docker's own packages, docker-compose-v2 of Ubuntu",
        );
    }
    if let Some(place) = &engine.other_project {
        return refuse(
            "a compose project named wg-easy exists that this program did not make",
            &format!("it lives in {place}; compose would take its containers for ours"),
            "take it down (`docker compose down` there), or give it another name (`name:` in its file)",
        );
    }
    Ok(())
}

/// The kernel that the container will run under.
fn will_run<'a>(facts: &'a Facts, choice: &'a Choice) -> &'a str {
    choice.release.as_deref().unwrap_or(&facts.kernel.running)
}

/// What the container's iptables goes through under that kernel.
pub fn backend(facts: &Facts, choice: &Choice) -> Backend {
    if facts.legacy_tables(will_run(facts, choice)) { Backend::Legacy } else { Backend::Nft }
}

/// What the packet filter does and does not do here.
fn filters(config: &Config, facts: &Facts, choice: &Choice) -> Vec<String> {
    let (network, found) = (&config.network, &facts.network);
    let mut notes = Vec::new();
    if backend(facts, choice) == Backend::Nft {
        let release = will_run(facts, choice);
        notes.push(format!("kernel {release} has no ip_tables: the container's iptables goes through nf_tables"));
    }
    let open = if config.server.web == Web::Local { "" } else { " and the admin page's" };
    if network.firewall == Firewall::Auto {
        notes.push(format!(
            "what filters the tunnel's port{open} is DOCKER-USER, not ufw and not the rules for the host's own ports; \
             it is accepted there before other rules, and no other port is opened"
        ));
    }
    if network.isolate {
        let mut closed = "peers reach the internet; not each other, the admin page, this host, private and \
            link-local ranges, metadata services"
            .to_string();
        let listed: Vec<String> = network.reachable.iter().map(ToString::to_string).collect();
        if !listed.is_empty() {
            closed.push_str(&format!("; but {}", listed.join(", ")));
        }
        let names: Vec<String> = config.server.dns.iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            closed.push_str(&format!("; names are asked of {}", names.join(", ")));
        }
        notes.push(closed);
    } else {
        notes.push(
            "network.isolate is false: peers reach the admin page, this host, its private networks and its \
             metadata service, which may hold passwords"
                .into(),
        );
    }
    notes.extend(firewalls(facts));
    if network.ipv6 == Ipv6::Auto && !found.ipv6 {
        notes.push("IPv6 is switched off on this host: the tunnel has none either".into());
    }
    notes
}

/// Firewalls beside our rules that swallow forwarded packets or flush what is not theirs.
fn firewalls(facts: &Facts) -> Vec<String> {
    let found = &facts.network;
    let mut notes = Vec::new();
    if let Some(file) = &found.forward_drop {
        notes.push(format!(
            "{file} drops forwarded packets that it does not name, whatever iptables accepts: let it accept \
             `iifname \"{BRIDGE}\"` and `oifname \"{BRIDGE}\"` in its forward chain, or no packet of a peer comes through"
        ));
    }
    for name in &found.firewalls {
        notes.push(match name.as_str() {
            "ufw" => "ufw is on: its rules do not apply to what docker publishes, and it leaves ours alone".into(),
            "firewalld" => "firewalld is on: restart docker and awg-firewall after it was reloaded".into(),
            name => format!(
                "the service {name} loads rules of its own: when it is restarted, docker's rules and ours go; \
                 restart docker and awg-firewall then"
            ),
        });
    }
    notes
}

fn space(facts: &Facts) -> Result<()> {
    let caddy = facts.https.as_ref().is_some_and(|h| h.image.is_none());
    let need =
        [(!facts.engine.installed, NEED_ENGINE), (facts.engine.image.is_none(), NEED_IMAGE), (caddy, NEED_CADDY)];
    let need: u64 = need.iter().filter(|(wanted, _)| *wanted).map(|(_, mib)| mib).sum();
    match facts.free_mib.get("/").filter(|free| **free < need) {
        None => Ok(()),
        Some(free) => Err(Error::host(format!("/ has {free} MiB free, {need} MiB are needed"))
            .remedy("free some space or use a larger disk")),
    }
}
