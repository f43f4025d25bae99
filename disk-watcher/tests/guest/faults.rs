//! Faults of docs/faults.md that stand in no other file: each is made, and then no byte of a disk
//! that is not ours changed, and what is ours is whole again or Frozen with a reason.

mod care;
mod devices;
mod host;
mod lost;
mod lvm;
mod moving;
mod names;
mod race;
mod raw_block;
mod slips;
pub(crate) mod status;
mod swapped;
pub(crate) mod theirs;
mod unreadable;
