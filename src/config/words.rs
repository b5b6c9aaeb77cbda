//! The settings that are one of a few words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A closed set of words. Each variant's comment becomes its help.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[schemars(inline)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// The word in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Mode {
    /// the kernel module, else userspace
    Auto = "auto",
    /// the kernel module
    Kernel = "kernel",
    /// amneziawg-go in the container
    Userspace = "userspace",
    /// plain WireGuard, which can be recognised and blocked
    Wireguard = "wireguard",
});
words!(Fallback {
    /// the userspace mode
    Userspace = "userspace",
    /// stop, and say why
    Fail = "fail",
    /// plain WireGuard; needs accept_plain_wireguard
    Wireguard = "wireguard",
});
words!(Reboot {
    /// reboot when the kernel changes
    Auto = "auto",
    /// stay on the running kernel
    Never = "never",
    /// start the new kernel without the firmware
    Kexec = "kexec",
});
words!(ModuleSource {
    /// the first that fits of bundle, image, catalog and build
    Auto = "auto",
    /// the offline bundle
    Bundle = "bundle",
    /// the container image
    Image = "image",
    /// the file in module.path
    File = "file",
    /// the address in module.url
    Url = "url",
    /// the signed catalog in module.catalog
    Catalog = "catalog",
    /// compiled on this host
    Build = "build",
});
impl ModuleSource {
    /// The module itself is named, and no other is to be looked for.
    pub fn is_named(self) -> bool {
        matches!(self, ModuleSource::File | ModuleSource::Url)
    }
}

words!(Web {
    /// nobody from outside; through an SSH tunnel
    Local = "local",
    /// everybody, over plain http: the password can be read on the way
    Public = "public",
    /// everybody, over https through a Caddy container
    Https = "https",
});
words!(Privilege {
    /// only what the mode needs
    Least = "least",
    /// privileged, NET_ADMIN and SYS_MODULE; needs container.accept_privileged
    Documented = "documented",
});
words!(Ipv6 {
    /// on where the host has it
    Auto = "auto",
    /// on; refused where the host has none
    On = "on",
    /// off everywhere
    Off = "off",
});
words!(Firewall {
    /// accept the published ports in DOCKER-USER before other rules there; nothing else is opened
    Auto = "auto",
    /// open nothing there
    None = "none",
});
