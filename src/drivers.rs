//! Which drivers a kernel needs for the root device, and which of them its initramfs lacks.
//!
//! Everything here works on text that the caller has read: the chain of devices from sysfs, the indexes in
//! `/lib/modules/<release>`, the names in the initramfs, mkinitfs's own files.

mod conf;
mod feature;
mod index;
mod need;

pub use conf::{add_features, enabled_features};
pub use feature::{Choice, Feature, choose};
pub use index::{Found, Index, Texts, module_name};
pub use need::{Met, Missing, Module, Need, contained, missing, needs};
