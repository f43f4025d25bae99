//! System extensions for Talos.
//!
//! An extension is an image with `manifest.yaml` and `rootfs/` at its root. What is below `rootfs/` is laid over the
//! node's read-only root at boot. A file `usr/local/etc/containers/<name>.yaml` in it describes a service, whose own
//! root is `usr/local/lib/containers/<name>`.
//!
//! - [`build`] puts our extensions together.
//! - [`validate`] says everything that is wrong with one ([`finding`]): of its [`contents`], from a folder, a tar or an
//!   OCI layout, each file, `manifest.yaml`, and the descriptions of services ([`service`], read with [`yaml`]).
//! - [`patches`] are those of the machine configuration, [`talconfig`] the same for TalHelper, and [`container`] is the
//!   watcher without an extension; all name what [`values`] says.

pub mod build;
pub mod container;
pub mod contents;
mod files;
pub mod finding;
mod image;
mod manifest;
pub mod patches;
mod programs;
pub mod range;
pub mod service;
pub mod talconfig;
pub mod validate;
pub mod values;
pub mod yaml;

/// Where the descriptions of services are, in an extension's root.
pub const SERVICES: &str = "usr/local/etc/containers";
/// Where the services' own roots are.
pub const CONTAINERS: &str = "usr/local/lib/containers";
