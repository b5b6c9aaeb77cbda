//! What is learnt about a kernel from its files.

use crate::module::fixture::*;
use crate::module::tests::target;
use crate::module::*;

const EXPORTS: [(&str, u32); 3] =
    [("udp_sock_create4", 0x8de2b1c3), ("setup_udp_tunnel_sock", 2), ("udp_tunnel_sock_release", 3)];

fn own_module(name: &'static str) -> Build {
    let build = good().with("name", name).with("intree", "Y").with("depends", "").without("alias");
    build.change(|b| b.inner_name = Some(name)).change(|b| b.versions.truncate(5))
}

#[test]
fn symvers_lists_every_export() {
    let text = "0xf7370f56\tsystem_state\tvmlinux\tEXPORT_SYMBOL\t\n\
                0x1c6ed4d9\tchacha20poly1305_encrypt\tlib/crypto/libchacha20poly1305\tEXPORT_SYMBOL\t\n\
                0x00000007\tcrypto_hidden\tcrypto/hidden\tEXPORT_SYMBOL_GPL\tCRYPTO_INTERNAL\n";
    let crcs = crcs_from_symvers(text).expect("three symbols");
    assert_eq!(crcs.len(), 3);
    assert_eq!(crcs["system_state"], 0xf7370f56);
    for (damaged, line) in
        [("", "empty"), ("0xf7370f56 system_state", "line 1"), ("0x1\ta\tv\tE\t\nnonsense\tb", "line 2")]
    {
        let shown = crcs_from_symvers(damaged).expect_err(damaged).to_string();
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn exports_are_read_from_symbols_or_from_relocations() {
    for crc_symbols in [true, false] {
        let build = own_module("udp_tunnel").change(|b| (b.exports, b.crc_symbols) = (EXPORTS.to_vec(), crc_symbols));
        let crcs = exports_of(&gzip(&build.bytes()), &Limits::default()).expect("exports");
        assert_eq!(crcs, EXPORTS.map(|(name, crc)| (name.to_owned(), crc)).into(), "{crc_symbols}");
    }
}

#[test]
fn the_kernels_own_modules_teach_what_it_exports() {
    let limits = Limits::default();
    let module = inspect(&good().bytes(), &limits).expect("whole");
    let mut evidence = Evidence::new(RELEASE, Machine::X86_64);
    assert!(!evidence.covers(&module));
    assert!(evidence.add(&own_module("wireguard").bytes(), &limits).expect("whole"));
    assert!(!evidence.covers(&module));
    let exporter = own_module("udp_tunnel").change(|b| b.exports = EXPORTS.to_vec());
    let rest = own_module("dummy").change(|b| b.versions = SYMBOLS[5..].to_vec());
    assert!(evidence.add(&signed(exporter.bytes(), &[0x0a, 0x0b]), &limits).expect("whole"));
    assert!(evidence.add(&rest.bytes(), &limits).expect("whole"));
    assert!(evidence.covers(&module));

    let mut learnt = Target::new(RELEASE, Machine::X86_64).with_evidence(evidence);
    learnt.modules = target().modules;
    assert_eq!(learnt.signers, ["0a0b".to_owned()].into());
    assert_eq!(verdict(&check(&module, &learnt)), Verdict::Compatible);
    assert!(!check(&module, &learnt).iter().any(|f| f.severity == Severity::Warning));

    let altered = good().change(|b| b.versions[7].1 ^= 1);
    let altered = inspect(&altered.bytes(), &limits).expect("whole");
    assert_eq!(check(&altered, &learnt)[0].code, Code::Crc);
}

#[test]
fn foreign_modules_teach_nothing() {
    let limits = Limits::default();
    let mut evidence = Evidence::new(RELEASE, Machine::X86_64);
    let out_of_tree = good();
    let older = own_module("dummy").with("vermagic", "6.12.49-0-lts SMP preempt mod_unload modversions ");
    let arm = own_module("dummy").change(|b| b.machine = object::Architecture::Aarch64);
    for build in [out_of_tree, older, arm] {
        assert!(!evidence.add(&build.bytes(), &limits).expect("whole"));
    }
    assert!(evidence.crcs.is_empty() && evidence.vermagic.is_none());
}

#[test]
fn modules_that_disagree_are_not_believed() {
    let limits = Limits::default();
    let mut evidence = Evidence::new(RELEASE, Machine::X86_64);
    let one = own_module("one");
    let other = own_module("other").change(|b| b.versions[1].1 ^= 1);
    for build in [&one, &other, &one] {
        evidence.add(&build.bytes(), &limits).expect("whole");
    }
    assert_eq!(evidence.conflicts, ["__napi_schedule".to_owned()].into());
    assert_eq!(evidence.crcs.len(), 4);
}

#[test]
fn the_best_teachers_come_first() {
    let dep = "kernel/fs/fuse/fuse.ko.gz:\n\
               kernel/net/ipv4/udp_tunnel.ko.gz:\n\
               extra/amneziawg.ko: kernel/net/ipv4/udp_tunnel.ko.gz\n\
               kernel/net/ipv6/ip6_udp_tunnel.ko.gz: kernel/net/ipv4/udp_tunnel.ko.gz\n\
               kernel/drivers/net/wireguard/wireguard.ko.gz: kernel/net/ipv4/udp_tunnel.ko.gz\n\
               kernel/drivers/net/dummy.ko.gz:\n";
    let paths = evidence_paths(dep);
    let names: Vec<&str> = paths.iter().filter_map(|p| p.rsplit('/').next()).collect();
    assert_eq!(names, ["wireguard.ko.gz", "udp_tunnel.ko.gz", "dummy.ko.gz", "ip6_udp_tunnel.ko.gz", "fuse.ko.gz"]);
    assert!(evidence_paths("").is_empty());
}

#[test]
fn module_names_come_out_of_the_indexes() {
    let dep = "kernel/arch/x86/crypto/curve25519-x86_64.ko.gz: kernel/lib/crypto/libcurve25519-generic.ko.gz\n\
               extra/amneziawg.ko.zst:\nkernel/odd.kob:\nno colon\n";
    assert_eq!(names_from_dep(dep), ["amneziawg", "curve25519_x86_64"].map(str::to_owned).into());
    let builtin = "kernel/net/ipv4/udp_tunnel.ko\nkernel/drivers/block/virtio_blk.ko\n";
    assert_eq!(names_from_builtin(builtin), ["udp_tunnel", "virtio_blk"].map(str::to_owned).into());
}

#[test]
fn the_signature_policy_is_read() {
    assert_eq!(lockdown_from("[none] integrity confidentiality\n"), Lockdown::None);
    assert_eq!(lockdown_from("none [integrity] confidentiality\n"), Lockdown::Integrity);
    assert_eq!(lockdown_from("none integrity [confidentiality]\n"), Lockdown::Confidentiality);
    assert_eq!(lockdown_from(""), Lockdown::None);
    assert!(sig_enforce_from_cmdline("root=/dev/vda1 module.sig_enforce quiet"));
    assert!(sig_enforce_from_cmdline("module.sig_enforce=1"));
    assert!(!sig_enforce_from_cmdline("module.sig_enforce=1 module.sig_enforce=0"));
    assert!(!sig_enforce_from_cmdline("root=/dev/vda1"));
}
