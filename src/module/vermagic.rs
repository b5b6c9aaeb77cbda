//! The version string that a module and its kernel must share.

use serde::{Deserialize, Serialize};

/// `6.12.50-0-lts SMP preempt mod_unload modversions `: the release, then the build's flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vermagic {
    /// As stored: the kernel compares byte by byte, trailing blank included.
    pub text: String,
    pub release: String,
    pub flags: Vec<String>,
}

impl Vermagic {
    /// `None` when there is not even a release.
    pub fn parse(text: &str) -> Option<Vermagic> {
        let mut words = text.split_ascii_whitespace().map(str::to_owned);
        let release = words.next()?;
        Some(Vermagic { text: text.to_owned(), release, flags: words.collect() })
    }

    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// What the flags of this module have too few, too many or otherwise, one entry per difference.
    pub(crate) fn flag_differences(&self, kernel: &Vermagic) -> Vec<String> {
        let lacks = kernel.flags.iter().filter(|f| !self.has(f)).map(|f| format!("the module lacks `{f}`"));
        let adds = self.flags.iter().filter(|f| !kernel.has(f)).map(|f| format!("the module adds `{f}`"));
        let mut differences: Vec<String> = lacks.chain(adds).collect();
        if differences.is_empty() && self.flags != kernel.flags {
            differences.push(format!(
                "the flags are `{}` in the module and `{}` in the kernel",
                self.flags.join(" "),
                kernel.flags.join(" ")
            ));
        }
        let tail = |v: &Vermagic| v.text.get(v.release.len()..).map(str::to_owned);
        if differences.is_empty() && tail(self) != tail(kernel) {
            differences.push("blanks differ, which the kernel does not forgive".to_owned());
        }
        differences
    }
}
