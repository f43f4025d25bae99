//! What surrounds the work of a daemon: logs, signals, and the HTTP side door with
//! metrics and health.
//!
//! Nothing here knows of LVM. The scheduler and the CSI programs use it as well.

pub mod bind;
pub mod http;
pub mod log;
pub mod memory;
pub mod signals;

pub use bind::Bind;
pub use http::{Check, Health};
pub use log::{Format, LogSettings};
