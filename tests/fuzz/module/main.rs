//! Any bytes as a module: given as a candidate, and as one of the kernel's own modules.
//!
//! Whatever comes, there is an error or a usable answer; memory and time are bounded by scripts/fuzz.

#![no_main]

mod seeds;

use awg_install::module::{
    Compression, Evidence, Inspection, Limits, Lockdown, Machine, Report, Target, check, exports_of, open, refusal,
    text, verdict,
};
use libfuzzer_sys::fuzz_target;

const RELEASE: &str = "6.12.50-0-lts";

fuzz_target!(
    // Before the first input, which may be one of these.
    init: if let Some(directory) = std::env::var_os("AWG_FUZZ_SEEDS") {
        seeds::write(directory.as_ref()).expect("the seeds");
    },
    |bytes: &[u8]| any(bytes)
);

fn any(bytes: &[u8]) {
    let limits = Limits::default();
    let mut evidence = Evidence::new(RELEASE, Machine::X86_64);
    let taught = evidence.add(bytes, &limits);
    let exports = exports_of(bytes, &limits);
    let (module, plain) = match open(bytes, &limits) {
        Ok(opened) => opened,
        Err(error) => return shown(&error.to_string()),
    };
    // What can be opened has readable parts for the other readers, too.
    assert!(plain.len() as u64 <= limits.uncompressed);
    assert_eq!(module.size, bytes.len() as u64);
    assert_eq!(module.uncompressed_size, plain.len() as u64);
    if module.compression == Compression::None {
        assert_eq!(&*plain, bytes);
    } else if let Ok((again, _)) = open(&plain, &limits) {
        assert_eq!(again.sha256, module.uncompressed_sha256);
        assert_eq!((again.name, again.imports), (module.name.clone(), module.imports.clone()));
    } else {
        panic!("packed it is a module, and unpacked it is not");
    }
    let json = serde_json::to_string(&module).expect("plain data");
    assert_eq!(serde_json::from_str::<Inspection>(&json).expect("its own form"), module);

    if matches!(taught, Ok(true)) {
        assert!(evidence.covers(&module), "it does not cover what it has just learnt");
    }
    let mut target = Target::new(RELEASE, Machine::X86_64);
    target.modules = Some(["udp_tunnel".to_owned(), "curve25519_x86_64".to_owned()].into());
    judge(&module, &target);
    judge(&module, &target.clone().with_evidence(evidence));
    target.lockdown = Lockdown::Integrity;
    target.denied_srcversions.extend(module.srcversion.clone());
    if let Ok(exports) = exports {
        target = target.with_symvers(exports);
    }
    judge(&module, &target);
}

/// A verdict has its reasons, and a refusal says them.
fn judge(module: &Inspection, target: &Target) {
    let findings = check(module, target);
    let refused = refusal(module, target, &findings);
    assert_eq!(refused.is_some(), verdict(&findings) == awg_install::module::Verdict::Incompatible);
    if let Some(error) = refused {
        shown(&error.to_string());
    }
    shown(&text(&Report::new(module.clone(), Some((target, findings)))));
}

/// What a file holds must not reach the terminal raw, nor fill it.
fn shown(text: &str) {
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}
