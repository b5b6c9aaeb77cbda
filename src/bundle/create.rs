//! Making a bundle on a host that has a network.

use std::collections::BTreeMap;
use std::path::Path;

use xshell::cmd;

use super::collect::{self, Source};
use super::manifest::{BundledImage, BundledModule, IMAGE, INDEX, Manifest, Member, VERSION};
use super::trust::Trust;
use super::write::Writer;
use super::{MANIFEST, SIGNATURE, check, read};
use crate::config::{Config, Flavour, Mode, PackageSource, Release, Web};
use crate::error::{Error, Kind, Result};
use crate::facts::{self, engine};
use crate::fetch;
use crate::host::{Host, Limits, files::sha256};
use crate::pull;

/// Where it is put together; nothing stays there.
const WORK: &str = "/var/lib/awg-install/cache/create";
/// Seconds for writing the image.
const IMAGE_TIME: u64 = 3600;
/// What every installation needs. `alpine-base` is on every host: with it, packages that come along by themselves
/// where others are installed (docker-openrc) are found here as well.
const PACKAGES: &[&str] = &["alpine-base", "docker", "docker-cli-compose", "kmod", "mkinitfs"];
/// A line of text that says the same at every signing, where minisign would write the time.
const COMMENT: &str = "awg-install bundle";

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The bundle's file.
    pub file: &'a Path,
    /// minisign's secret key, without a password.
    pub sign: Option<&'a Path>,
    /// Put the image in.
    pub image: bool,
    /// The time to be written into it, RFC 3339.
    pub created: &'a str,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Created {
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
    pub signed: bool,
    pub manifest: Manifest,
}

/// Collects packages, module and image for the configuration and writes them to one file. `say` is told
/// what goes on.
pub fn create(host: &Host, config: &Config, order: &Order, say: &mut dyn FnMut(&str)) -> Result<Created> {
    preflight(host, config, order)?;
    host.remove_tree(WORK)?;
    let made = host.make_dirs(WORK, 0o700)?;
    let done = put_together(host, config, order, say);
    let _ = host.remove_tree(WORK);
    for dir in made.iter().rev() {
        host.remove_empty_dir(dir);
    }
    done
}

/// What can be known before the first package is fetched.
fn preflight(host: &Host, config: &Config, order: &Order) -> Result<()> {
    if collect::branch(host).is_none() || host.which("apk").is_none() {
        return Err(Error::host("a bundle can only be made on Alpine")
            .cause("its packages are collected with apk")
            .remedy("run this on an Alpine host of the same branch and architecture, such as a container"));
    }
    if !matches!(config.kernel.package, PackageSource::Repository) {
        return Err(Error::new(Kind::Config, "kernel.package: a bundle takes its kernel from a repository")
            .remedy("leave kernel.package out, and enable a repository that offers the kernel"));
    }
    if order.sign.is_some() && host.which("minisign").is_none() {
        return Err(Error::host("minisign is not installed, and the bundle is to be signed")
            .remedy("`apk add minisign`, or leave --sign out and hand over the sha256"));
    }
    if order.image && config.server.web == Web::Https {
        return Err(Error::new(Kind::Config, "server.web: https: a bundle holds the server's image and not Caddy's")
            .remedy("make it with --server-web local; where it is used, load Caddy's image first (`docker save`, `docker load`)"));
    }
    if order.image && host.which("docker").is_none() {
        return Err(Error::host("docker is not installed, and the image is taken from it")
            .remedy("`apk add docker` and start it, or use --no-image: then the installation pulls the image"));
    }
    Ok(())
}

/// A member of the bundle to be, and the file that it is now.
type Files = BTreeMap<String, String>;

fn put_together(host: &Host, config: &Config, order: &Order, say: &mut dyn FnMut(&str)) -> Result<Created> {
    let arch = facts::arch(host);
    let mut files = Files::new();
    let source = Source::new(host, WORK)?;
    let (mut kernels, mut modules) = (Vec::new(), Vec::new());
    let mut world: Vec<String> = PACKAGES.iter().map(|p| p.to_string()).collect();
    // The other modes run on any kernel.
    if matches!(config.mode, Mode::Auto | Mode::Kernel) {
        let (release, bytes) = kernel_and_module(host, config, &source, &arch)?;
        say(&format!("kernel {release} and the module for it"));
        world.extend([release.pin(), "linux-firmware-none".into()]);
        let (release, member) = (release.to_string(), format!("modules/{release}/amneziawg.ko"));
        let place = format!("{WORK}/amneziawg.ko");
        host.write(&place, &bytes, 0o600)?;
        files.insert(member.clone(), place);
        modules.push(BundledModule { release: release.clone(), sha256: sha256(&bytes), member });
        kernels.push(release);
    }
    world.sort();
    let packages = format!("{WORK}/packages");
    let collected = source.fetch(&world, &packages)?;
    for repository in &collected {
        let dir = format!("{}/{arch}", repository.repository);
        files.insert(format!("{dir}/{INDEX}"), repository.index.clone());
        files.extend(repository.files.iter().map(|f| (format!("{dir}/{f}"), format!("{packages}/{f}"))));
    }
    say(&format!("{} packages", collected.iter().map(|c| c.files.len()).sum::<usize>()));
    let image = if order.image { Some(image(host, config, &arch, &mut files, say)?) } else { None };
    let manifest = Manifest {
        version: VERSION,
        arch,
        created: order.created.into(),
        alpine: collect::branch(host).unwrap_or_default(),
        image,
        kernels,
        modules,
        repositories: collected.into_iter().map(|c| c.repository).collect(),
        members: members(host, &files)?,
    };
    manifest.check().map_err(|why| Error::step("the bundle cannot be made: its manifest").cause(why))?;
    write(host, config, order, manifest, &files)
}

/// The kernel that was asked for and its module; without either, the newest kernel on offer.
fn kernel_and_module(host: &Host, config: &Config, source: &Source, arch: &str) -> Result<(Release, Vec<u8>)> {
    let named = fetch::named_module(host, &config.module)?;
    let built_for = |bytes: &[u8]| {
        let limits = crate::module::Limits::default();
        crate::module::inspect(bytes, &limits).ok().and_then(|m| m.vermagic.release.parse::<Release>().ok())
    };
    let release = match (config.kernel.release.exact(), &named) {
        (Some(exact), _) => exact.clone(),
        (None, Some((_, bytes))) => match built_for(bytes) {
            Some(release) => release,
            None => source.newest(Flavour::Lts)?,
        },
        (None, None) => source.newest(Flavour::Lts)?,
    };
    let (place, bytes) = match named {
        Some(named) => named,
        None => {
            let place = format!("/lib/modules/{release}/extra/amneziawg.ko");
            let bytes = host.read(&place).ok_or_else(|| {
                Error::host(format!("there is no module for {release} to put into the bundle"))
                    .cause(format!("{place} is not there, and module.source names neither a file nor a URL"))
                    .remedy(
                        "give --module-source file --module-path FILE, or --mode userspace for a bundle without one",
                    )
            })?;
            (place, bytes)
        }
    };
    let bad = |why: String| {
        Error::new(Kind::Artifact, format!("the module from {place} cannot be used")).cause(why).remedy(
            "give a module that was built for exactly this kernel; `awg-install module inspect FILE` shows what one is",
        )
    };
    if let Some(wanted) = config.module.sha256.as_deref().filter(|w| **w != *sha256(&bytes)) {
        return Err(bad(format!("its SHA-256 is {}, module.sha256 is {wanted}", sha256(&bytes))));
    }
    read::fits(&bytes, &release.to_string(), arch).map_err(bad)?;
    Ok((release, bytes))
}

fn image(
    host: &Host,
    config: &Config,
    arch: &str,
    files: &mut Files,
    say: &mut dyn FnMut(&str),
) -> Result<BundledImage> {
    let (sh, reference) = (host.shell(), config.container.image.to_string());
    let found = engine::probe(host, config);
    if !found.answers {
        let mut error = Error::host("the container engine does not answer, and the image is taken from it");
        error.cause = found.problem;
        return Err(error.remedy("start it with `rc-service docker start`, or use --no-image"));
    }
    let image = match found.image {
        Some(image) => image,
        None => {
            say(&format!("pulling {reference}"));
            pull::from_registry(host, config, &config.container.image, arch)?
        }
    };
    if let Some(misfit) = image.misfit(&reference, arch) {
        return Err(Error { kind: Kind::Artifact, ..misfit });
    }
    let place = format!("{WORK}/{IMAGE}");
    let save = cmd!(sh, "docker save -o {place} {reference}");
    host.run(save, Limits::seconds(IMAGE_TIME), "saving the image")?;
    files.insert(IMAGE.into(), place);
    say(&format!("image {reference}"));
    // RepoDigests has `name@sha256:…`.
    let digest = image.digest.map(|d| d.rsplit('@').next().unwrap_or_default().to_string());
    Ok(BundledImage { reference, id: image.id, digest, member: IMAGE.into() })
}

fn members(host: &Host, files: &Files) -> Result<Vec<Member>> {
    let one = |(path, place): (&String, &String)| {
        host.go_on()?;
        let sha256 =
            host.sha256_of(place).ok_or_else(|| Error::step(format!("{place}: cannot be read for the bundle")))?;
        Ok(Member { path: path.clone(), size: host.size(place), sha256 })
    };
    files.iter().map(one).collect()
}

fn write(host: &Host, config: &Config, order: &Order, manifest: Manifest, files: &Files) -> Result<Created> {
    let absolute = if host.is_fake() { Ok(order.file.to_path_buf()) } else { std::path::absolute(order.file) };
    let file = absolute.map_err(|e| Error::new(Kind::Usage, "the bundle's file has no usable name").cause(e))?;
    let file = file.to_string_lossy().into_owned();
    let mut bytes = serde_json::to_vec_pretty(&manifest).expect("plain data");
    bytes.push(b'\n');
    let signature = order.sign.map(|key| sign(host, config, key, &bytes)).transpose()?;
    let done = (|| -> Result<(u64, String)> {
        let mut writer = Writer::new(host, &file, host.partial_anew(&file)?);
        writer.add(MANIFEST, bytes.len() as u64, &bytes[..])?;
        if let Some(signature) = &signature {
            writer.add(SIGNATURE, signature.len() as u64, &signature[..])?;
        }
        for member in &manifest.members {
            let place = &files[&member.path];
            let opened = host.open(place).map_err(|e| Error::step(format!("{place}: cannot be read")).cause(e))?;
            writer.add(&member.path, member.size, opened)?;
        }
        let mut partial = writer.finish()?;
        let (size, sha256) = (partial.length(), partial.sha256());
        partial.commit(0o644)?;
        Ok((size, sha256))
    })();
    if done.is_err() {
        let _ = host.remove_file(format!("{file}.part"));
    }
    let (size, sha256) = done?;
    // Read back: what was written is held against the list, not taken for granted.
    let mut back = read::written(host, Path::new(&file), &sha256, &bytes, signature.as_deref())?;
    check(host, &mut back, &mut |_, _| {})?;
    Ok(Created { file, size, sha256, signed: signature.is_some(), manifest })
}

/// Has minisign sign the manifest. There is no terminal that it could ask for a password on.
fn sign(host: &Host, config: &Config, key: &Path, manifest: &[u8]) -> Result<Vec<u8>> {
    let (sh, place, signature) = (host.shell(), format!("{WORK}/{MANIFEST}"), format!("{WORK}/{SIGNATURE}"));
    host.write(&place, manifest, 0o600)?;
    let out = host.ask(cmd!(sh, "minisign -S -s {key} -m {place} -x {signature} -t {COMMENT}"), Limits::seconds(60));
    let bytes = host.read(&signature).filter(|_| out.ok()).ok_or_else(|| {
        out.error("the bundle cannot be signed")
            .remedy("use a key without a password (`minisign -G -W`): nobody can be asked for one here")
    })?;
    // Only where the configuration says what an installation would trust.
    let trust = Trust::of(config);
    if !trust.keys.is_empty() {
        trust.signer(manifest, Some(&bytes)).map_err(|why| {
            Error::new(Kind::Artifact, format!("{}: an installation would not trust this key", key.display()))
                .cause(why)
                .remedy("sign with the key whose public half is configured, or correct bundle.public_keys")
        })?;
    }
    Ok(bytes)
}
