//! LVM on this node: what it says, and the one way to change it.

pub mod attr;
pub mod label;
pub mod lock_dir;
pub mod model;
pub mod report;
pub mod system_dir;
