//! What the sources of modules and kernels have.

use serde::{Deserialize, Serialize};

use crate::config::ModuleSource;
use crate::module::Inspection;

/// What one source of modules has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    pub source: ModuleSource,
    /// Modules that were fetched from it and inspected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Candidate>,
    /// Kernels it has the packages of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelPackages>,
    /// Why it has none, or not all that it could have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// It can be looked into only once the engine has the image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it comes from, in words.
    pub source: String,
    pub inspection: Inspection,
}

/// The packages of one kernel, for when no repository has them any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelPackages {
    pub release: String,
    pub packages: Vec<PackageFile>,
}

/// A package file: on this host, or at an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageFile {
    /// An absolute path or a URL.
    pub place: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Bytes, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Offer {
    /// A source that has nothing, and why.
    pub fn nothing(source: ModuleSource, why: impl Into<String>) -> Offer {
        Offer { source, modules: Vec::new(), kernels: Vec::new(), problem: Some(why.into()), open: false }
    }

    /// A source that has these modules.
    pub fn of(source: ModuleSource, modules: Vec<Candidate>) -> Offer {
        Offer { source, modules, kernels: Vec::new(), problem: None, open: false }
    }
}
