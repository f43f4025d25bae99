//! LVM on this node: what it says, and the one way to change it.

pub mod attr;
pub mod compare;
pub mod describe;
pub mod devices;
pub mod gather;
pub mod health;
pub mod label;
pub mod live;
pub mod lock_dir;
pub mod metadata;
pub mod model;
pub mod mutation;
mod nodes;
mod own_dev;
pub mod percent;
pub mod reader;
pub mod report;
pub mod script;
pub mod snapshot;
pub mod system_dir;
pub mod tool;
pub mod valid;
pub mod vg_lock;
