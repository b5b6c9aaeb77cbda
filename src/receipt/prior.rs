//! What has to be remembered of a host before it is changed.

use serde::{Deserialize, Serialize};

use crate::host::files::Owner;

/// A primitive change, with what is needed to take it back. Each undo is idempotent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    File {
        path: String,
        was: Was,
    },
    Directory {
        path: String,
    },
    /// Packages asked of apk: what world said of each (absent: nothing).
    World {
        package: String,
        was: Option<String>,
    },
    /// What apk had installed, each as `name=version`: nothing to undo. After an attempt that was cut off, what came
    /// since is unpacked once more, and nothing else.
    Installed {
        packages: Vec<String>,
    },
    Runlevel {
        service: String,
        runlevel: String,
    },
    Started {
        service: String,
    },
    Loaded {
        module: String,
    },
    Sysctl {
        name: String,
        was: String,
    },
    Image {
        reference: String,
    },
    /// Rules of ours in the host's packet filter, which this script takes away again.
    Rules {
        script: String,
    },
    /// The container and its network, made from the compose file in this directory.
    Project {
        directory: String,
    },
    /// The index of this release has to be made again.
    Depmod {
        release: String,
    },
    /// The loader's configuration has to be generated again.
    Loader,
    /// The loader was told to start something once.
    Armed,
    /// A tree that a package or service of ours filled; removed only when data is purged.
    Data {
        path: String,
    },
    /// A file or tree that was not there and that a package's scripts or a generator leave behind.
    Leftover {
        path: String,
    },
}

/// What a file was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Was {
    Absent,
    /// Already as wanted: nothing of it is ours.
    Same,
    Different {
        copy: String,
        owner: Owner,
    },
}

/// How many of these changes keep a copy of a file.
pub fn copies<'a>(changes: impl Iterator<Item = &'a Change>) -> usize {
    changes.filter(|c| matches!(c, Change::File { was: Was::Different { .. }, .. })).count()
}

impl Change {
    /// The same thing is changed, whatever it was before.
    pub(super) fn same_target(&self, other: &Change) -> bool {
        match (self, other) {
            (Change::File { path: a, .. }, Change::File { path: b, .. }) => a == b,
            (Change::World { package: a, .. }, Change::World { package: b, .. }) => a == b,
            (Change::Sysctl { name: a, .. }, Change::Sysctl { name: b, .. }) => a == b,
            (Change::Installed { .. }, Change::Installed { .. }) => true,
            _ => self == other,
        }
    }
}
