mod fitting;
mod hostile;
mod kernel;
mod malformed;
mod mismatched;
mod mutated;
mod wrapped;

use super::fixture::{RELEASE, SYMBOLS, VERMAGIC};
use super::*;

/// The kernel that [`fixture::good`] is built for, fully known.
pub(super) fn target() -> Target {
    let names = ["udp_tunnel", "libchacha20poly1305", "curve25519_x86_64", "ip6_udp_tunnel"];
    let crcs = SYMBOLS.iter().map(|(name, crc)| ((*name).to_owned(), *crc)).collect();
    let mut target = Target::new(RELEASE, Machine::X86_64).with_symvers(crcs);
    target.vermagic = Vermagic::parse(VERMAGIC);
    target.struct_size = Some(0x440);
    target.modules = Some(names.map(str::to_owned).into());
    target.signers = ["0a0b".to_owned()].into();
    target
}
