//! The module compiled in a throw-away root: what comes of it, and that nothing of it stays.

mod support;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use awg_install::build::{self, build};
use awg_install::config::Config;
use awg_install::error::{Error, Kind};
use awg_install::host::{Host, files::sha256};
use support::tree::Tree;
use support::{LTS, Root, module};

/// A host whose repository has the headers of the lts kernel.
fn host_root() -> Root {
    offering("6.12.50-r0")
}

fn offering(headers: &str) -> Root {
    let root = Root::fresh();
    let offered = root.read("/.fakeroot/offered");
    root.write("/.fakeroot/offered", &format!("{offered}main linux-lts-dev {headers}\n"));
    root.write("/etc/apk/keys/builder.rsa.pub", "a key\n");
    root.write("/var/lib/awg-install/receipt.json", "{}");
    root
}

fn open(root: &Root, env: &[(&str, &str)]) -> Host {
    let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Host::new(Some(root.dir()), env).unwrap()
}

/// What counts: the stand-ins' own record does not.
fn tree(root: &Root) -> Tree {
    root.tree().without(&["/.fakeroot/commands"])
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        // Written as it is: the library would not take every name that an archive may hold.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn good() -> Vec<u8> {
    let module = module::good().bytes();
    archive(&[
        ("amneziawg-1/README", b"how to"),
        ("amneziawg-1/src/Kbuild", b"obj-m := amneziawg.o\n"),
        ("amneziawg-1/src/main.c", b"int nothing;\n"),
        ("amneziawg-1/src/amneziawg.ko_shipped", &module),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Serves the archive on loopback, under every path; nothing of it where there is none.
fn serve(body: Option<Vec<u8>>) -> String {
    let body = Arc::new(body);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/source.tar", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(|l| l.ok().filter(|l| !l.is_empty())).for_each(drop);
            let (status, body) = match body.as_ref() {
                Some(body) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", b"".as_slice()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    url
}

fn config(url: &str, checksum: &str) -> Config {
    let mut config = Config::default();
    config.module.source_url = Some(url.parse().unwrap());
    config.module.source_sha256 = Some(checksum.parse().unwrap());
    config
}

fn run(host: &Host, archive: Vec<u8>, checksum: &str) -> Result<Vec<u8>, Error> {
    build(host, &config(&serve(Some(archive)), checksum), LTS, &|_| {})
}

/// The error of a run after which everything is as it was before.
fn fails(root: &Root, archive: Vec<u8>, env: &[(&str, &str)]) -> Error {
    let before = tree(root);
    let sum = sha256(&archive);
    let error = run(&open(root, env), archive, &sum).unwrap_err();
    before.assert_same(&tree(root), "left behind");
    error
}

#[test]
fn a_module_comes_and_nothing_stays() {
    let root = host_root();
    let before = tree(&root);
    root.forget_commands();
    let told = RefCell::new(Vec::new());
    let archive = good();
    let config = config(&serve(Some(archive.clone())), &sha256(&archive));
    let made = build(&open(&root, &[]), &config, LTS, &|phase| told.borrow_mut().push(phase.to_string())).unwrap();
    assert_eq!(made, module::good().bytes());
    before.assert_same(&tree(&root), "left behind");

    let told = told.into_inner();
    assert_eq!(told.len(), 3, "{told:?}");
    for (phase, word) in told.iter().zip(["source", "linux-lts-dev=6.12.50-r0", "compiling"]) {
        assert!(phase.contains(word), "{told:?}");
    }
    let commands = root.commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let throw_away = format!("{}{}", root.dir().canonicalize().unwrap().display(), build::ROOT);
    assert!(commands[0].starts_with(&format!("apk --root {throw_away} --initdb --no-scripts add ")), "{commands:?}");
    assert!(commands[0].ends_with(" linux-lts-dev=6.12.50-r0"), "{commands:?}");
    assert!(commands[1].starts_with(&format!("chroot {throw_away} ")), "{commands:?}");
}

#[test]
fn the_checksum_is_of_the_archive_or_of_the_tar_in_it() {
    let root = host_root();
    let (plain, packed) = (good(), gzip(&good()));
    for sum in [sha256(&plain), sha256(&packed)] {
        run(&open(&root, &[]), packed.clone(), &sum).unwrap();
    }
    let before = tree(&root);
    root.forget_commands();
    let error = run(&open(&root, &[]), packed, &sha256(b"something else")).unwrap_err();
    assert_eq!(error.kind, Kind::Artifact);
    assert!(error.to_string().contains("is not the source that was asked for"), "{error}");
    assert_eq!(root.commands(), [""; 0], "the toolchain is not fetched for it");
    before.assert_same(&tree(&root), "left behind");
}

#[test]
fn a_source_that_does_not_compile() {
    let broken = archive(&[("a/Kbuild", b"obj-m := amneziawg.o\n"), ("a/main.c", b"#error kernel too new\n")]);
    let error = fails(&host_root(), broken, &[]);
    assert_eq!(error.kind, Kind::Step);
    assert!(error.to_string().contains("main.c:1:2: error: #error kernel too new"), "{error}");
}

#[test]
fn a_source_that_makes_another_module() {
    let empty = archive(&[("a/Kbuild", b"obj-m := other.o\n"), ("a/amneziawg.ko_shipped", b"")]);
    let error = fails(&host_root(), empty, &[]);
    assert!(error.to_string().contains("has left no usable module"), "{error}");
}

#[test]
fn headers_that_the_repository_does_not_have() {
    let error = fails(&offering("6.12.51-r0"), good(), &[]);
    assert!(error.to_string().contains("breaks: world[linux-lts-dev=6.12.50-r0]"), "{error}");
}

#[test]
fn a_repository_that_does_not_answer() {
    let error = fails(&host_root(), good(), &[("FAKE_FAIL", "apk --root *")]);
    assert!(error.to_string().contains("the compiler for the module cannot be had"), "{error}");
}

#[test]
fn a_source_that_is_not_there() {
    let root = host_root();
    let before = tree(&root);
    let config = config(&serve(None), &sha256(b""));
    let error = build(&open(&root, &[]), &config, LTS, &|_| {}).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    before.assert_same(&tree(&root), "left behind");
}

#[test]
fn paths_that_lead_elsewhere() {
    for name in ["a/../../../escaped", "/etc/escaped", "a/src/../../escaped"] {
        let mut trick = good();
        // Before the two empty blocks that end an archive.
        let body = archive(&[(name, b"escaped")]);
        trick.truncate(trick.len() - 1024);
        trick.extend(body);
        let error = fails(&host_root(), trick, &[]);
        assert_eq!(error.kind, Kind::Artifact);
        assert!(error.to_string().contains("leads out of the archive's directory"), "{name}: {error}");
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "a/src", "/etc").unwrap();
    let error = fails(&host_root(), builder.into_inner().unwrap(), &[]);
    assert!(error.to_string().contains("a/src is no plain file"), "{error}");
}

#[test]
fn what_is_no_source() {
    let error = fails(&host_root(), archive(&[("a/README", b"nothing to compile")]), &[]);
    assert!(error.to_string().contains("neither a Kbuild file nor a Makefile"), "{error}");
    let error = fails(&host_root(), b"a login page, perhaps".repeat(40), &[]);
    assert!(error.to_string().contains("cannot be read as a tar archive"), "{error}");
    let mut cut = gzip(&good());
    cut.truncate(cut.len() / 2);
    let error = fails(&host_root(), cut, &[]);
    assert!(error.to_string().contains("cannot be unpacked"), "{error}");
}

/// What a run leaves that is killed while apk has /proc mounted.
fn cut_off(root: &Root) {
    root.write(&format!("{}/usr/bin/gcc", build::ROOT), "half a compiler");
    root.write(&format!("{}/proc/version", build::ROOT), "the kernel's");
    let table = root.read("/proc/self/mountinfo");
    root.write("/proc/self/mountinfo", &format!("{table}90 24 0:5 / {}/proc rw - proc proc rw\n", build::ROOT));
}

#[test]
fn what_a_run_that_was_cut_off_has_left_goes() {
    let root = host_root();
    let before = tree(&root);
    cut_off(&root);
    build::sweep(&open(&root, &[])).unwrap();
    before.assert_same(&tree(&root), "left behind");

    cut_off(&root);
    let archive = good();
    let sum = sha256(&archive);
    run(&open(&root, &[]), archive, &sum).unwrap();
    before.assert_same(&tree(&root), "left behind");
}

#[test]
fn nothing_is_removed_across_a_mount() {
    let root = host_root();
    cut_off(&root);
    let before = tree(&root);
    let error = build::sweep(&open(&root, &[("FAKE_FAIL", "umount *")])).unwrap_err();
    assert!(error.to_string().contains("something is mounted below it"), "{error}");
    assert!(error.to_string().contains(&format!("{}/proc", build::ROOT)), "{error}");
    before.assert_same(&tree(&root), "left behind");
}

#[test]
fn what_else_is_kept_beside_it_stays() {
    let root = host_root();
    root.write("/var/lib/awg-install/cache/linux-lts.apk", "a package");
    let archive = good();
    let sum = sha256(&archive);
    run(&open(&root, &[]), archive, &sum).unwrap();
    assert_eq!(root.read("/var/lib/awg-install/cache/linux-lts.apk"), "a package");
}
