//! Sound modules that a given kernel would not take, or that are not the one that is wanted.

use crate::error::Kind;
use crate::module::fixture::*;
use crate::module::tests::target;
use crate::module::*;
use object::Architecture;

fn judge(build: &Build, target: &Target) -> (Inspection, Vec<Finding>) {
    let module = inspect(&build.bytes(), &Limits::default()).expect("a whole module");
    let findings = check(&module, target);
    (module, findings)
}

#[test]
fn each_mismatch_is_found_and_refused() {
    let crc = |name: &'static str| {
        good().change(|b| b.versions.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, crc)| *crc ^= 1))
    };
    let vermagic = |text: &str| good().with("vermagic", text);
    let t = target();
    let cases: Vec<(&str, Build, Target, Code, &str)> = vec![
        (
            "machine",
            good().change(|b| b.machine = Architecture::Aarch64),
            t.clone(),
            Code::Machine,
            "built for aarch64",
        ),
        (
            "other module",
            good().with("name", "wireguard").change(|b| b.inner_name = Some("wireguard")),
            t.clone(),
            Code::Name,
            "the module `wireguard`",
        ),
        ("no link alias", good().without("alias"), t.clone(), Code::Alias, "rtnl-link-amneziawg"),
        (
            "release",
            vermagic("6.12.51-0-lts SMP preempt mod_unload modversions "),
            t.clone(),
            Code::Release,
            "release 6.12.51-0-lts",
        ),
        (
            "flavour",
            vermagic("6.12.50-0-virt SMP preempt mod_unload modversions "),
            t.clone(),
            Code::Release,
            "release 6.12.50-0-virt",
        ),
        (
            "flag less",
            vermagic("6.12.50-0-lts SMP mod_unload modversions "),
            t.clone(),
            Code::Vermagic,
            "lacks `preempt`",
        ),
        (
            "flag more",
            vermagic("6.12.50-0-lts SMP preempt mod_unload modversions RANDSTRUCT_ab "),
            t.clone(),
            Code::Vermagic,
            "adds `RANDSTRUCT_ab`",
        ),
        (
            "other flag",
            vermagic("6.12.50-0-lts SMP preempt_rt mod_unload modversions "),
            t.clone(),
            Code::Vermagic,
            "adds `preempt_rt`",
        ),
        (
            "flags in another order",
            vermagic("6.12.50-0-lts preempt SMP mod_unload modversions "),
            t.clone(),
            Code::Vermagic,
            "`preempt SMP",
        ),
        (
            "trailing blank",
            vermagic("6.12.50-0-lts SMP preempt mod_unload modversions"),
            t.clone(),
            Code::Vermagic,
            "blanks differ",
        ),
        (
            "structure",
            good().change(|b| b.struct_size = 0x480),
            t.clone(),
            Code::Structure,
            "1152 bytes, the kernel's has 1088",
        ),
        (
            "no versions",
            good().change(|b| b.unversioned = b.versions.drain(..).map(|(n, _)| n).collect()),
            t.clone(),
            Code::Versions,
            "no symbol versions",
        ),
        (
            "one crc",
            crc("register_netdevice"),
            t.clone(),
            Code::Crc,
            "1 of its 8 symbols have another CRC in the kernel: register_netdevice (module 0x3fd4d2aa, kernel 0x3fd4d2ab)",
        ),
        (
            "a missing symbol",
            good().change(|b| b.versions.push(("gone_since", 5))),
            t.clone(),
            Code::Symbol,
            "do not exist in the kernel: gone_since",
        ),
        (
            "a missing symbol without crc",
            good().change(|b| b.unversioned.push("gone_since")),
            t.clone(),
            Code::Symbol,
            "1 of its 9 symbols",
        ),
        (
            "a dependency",
            good().with("depends", "udp_tunnel,libcurve25519-generic"),
            t.clone(),
            Code::Dependency,
            "does not have: libcurve25519-generic",
        ),
        (
            "denied",
            good(),
            Target { denied_srcversions: [SRCVERSION.to_owned()].into(), ..t.clone() },
            Code::Denied,
            "denied builds",
        ),
        ("licence", good().with("license", "Proprietary"), t.clone(), Code::License, "(Proprietary)"),
        ("no licence", good().without("license"), t.clone(), Code::License, "(none)"),
        ("enforced signatures", good(), Target { sig_enforce: true, ..t.clone() }, Code::Signature, "would be refused"),
        (
            "lockdown",
            good(),
            Target { lockdown: Lockdown::Integrity, ..t.clone() },
            Code::Signature,
            "is locked down, so it would be refused",
        ),
    ];
    for (label, build, target, code, says) in &cases {
        let (module, findings) = judge(build, target);
        let found: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
        assert!(!found.is_empty() && found.iter().all(|f| f.code == *code), "{label}: {findings:?}");
        assert!(found.iter().any(|f| f.message.contains(says)), "{label}: {findings:?}");
        assert!(found.iter().all(|f| !f.remedy.is_empty()), "{label}");
        assert_eq!(verdict(&findings), Verdict::Incompatible, "{label}");
        let error = refusal(&module, target, &findings).expect(label);
        assert_eq!(error.kind, Kind::Artifact, "{label}");
        assert!(error.cause.expect(label).contains(says), "{label}");
    }
}

#[test]
fn many_differing_symbols_are_counted_and_five_are_named() {
    let build = good().change(|b| b.versions.iter_mut().for_each(|(_, crc)| *crc ^= 0xffff));
    let (_, findings) = judge(&build, &target());
    let message = &findings[0].message;
    assert!(
        message.starts_with("8 of its 8 symbols have another CRC in the kernel: module_layout (module"),
        "{message}"
    );
    assert!(message.ends_with("and 3 more"), "{message}");
    assert_eq!(message.matches("(module").count(), 5);
}

#[test]
fn weak_imports_may_be_missing() {
    let (_, findings) = judge(&good().change(|b| b.weak = vec!["only_on_some_kernels"]), &target());
    assert_eq!(verdict(&findings), Verdict::Compatible);
}

#[test]
fn a_foreign_key_is_told_apart_from_the_kernels_own() {
    let own = inspect(&signed(good().bytes(), &[0x0a, 0x0b]), &Limits::default()).expect("whole");
    let foreign = inspect(&signed(good().bytes(), &[0x0c]), &Limits::default()).expect("whole");
    let strict = Target { sig_enforce: true, ..target() };
    assert_eq!(check(&own, &strict), []);
    let findings = check(&foreign, &strict);
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(findings[0].message.contains("(0c)") && findings[0].message.contains("enrolled"), "{findings:?}");
    assert_eq!(verdict(&check(&foreign, &target())), Verdict::Compatible);
}

#[test]
fn what_is_not_known_is_a_warning_and_never_silence() {
    let mut unknown = Target::new(RELEASE, Machine::X86_64);
    let (_, findings) = judge(&good(), &unknown);
    let codes: Vec<Code> = findings.iter().filter(|f| f.severity == Severity::Warning).map(|f| f.code).collect();
    assert_eq!(codes, [Code::VermagicUnknown, Code::CrcUnknown, Code::DependencyUnknown]);
    assert_eq!(verdict(&findings), Verdict::Compatible);

    unknown.abi = Some(Abi { crcs: [("module_layout".to_owned(), 0x3f2d4e8a)].into(), complete: false });
    let (_, findings) = judge(&good(), &unknown);
    let partial = findings.iter().find(|f| f.code == Code::CrcPartial).expect("a warning");
    assert!(partial.message.starts_with("1 of its 8 symbols were compared"), "{}", partial.message);
}

#[test]
fn a_build_without_srcversion_cannot_pass_a_deny_list_unnoticed() {
    let listed = Target { denied_srcversions: ["FFFF".to_owned()].into(), ..target() };
    let (_, findings) = judge(&good().without("srcversion"), &listed);
    assert_eq!((findings[0].severity, findings[0].code), (Severity::Warning, Code::Denied));
}

#[test]
fn all_reasons_are_given_at_once() {
    let build = good().with("vermagic", "6.12.51-0-lts SMP mod_unload modversions ").with("depends", "nowhere");
    let (module, findings) = judge(&build, &target());
    let error = refusal(&module, &target(), &findings).expect("refused").to_string();
    for part in ["release 6.12.51-0-lts", "lacks `preempt`", "nowhere", "does not fit kernel 6.12.50-0-lts"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let report = text(&Report::new(module, Some((&target(), findings))));
    assert!(report.ends_with("NOT compatible with kernel 6.12.50-0-lts\n"), "{report}");
}
