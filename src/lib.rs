//! The parts of `awg-install`. Data flows one way: config → facts → plan → apply → receipt → report.

pub mod apply;
pub mod bootloader;
pub mod change;
pub mod choice;
pub mod cli;
pub mod config;
pub mod container;
pub mod error;
pub mod facts;
pub mod fetch;
pub mod host;
pub mod initramfs;
pub mod kernel;
pub mod module;
pub mod owned;
pub mod plan;
pub mod preflight;
pub mod receipt;
pub mod report;
pub mod run;
pub mod setup;
pub mod status;
pub mod step;
pub mod undo;
pub mod unpack;
pub mod yaml;
