//! Faults of docs/faults.md that stand in no other file: each is made, and then no byte of a disk
//! that is not ours changed, and what is ours is whole again or Frozen with a reason.

mod host;
mod lvm;
mod names;
mod slips;
pub(crate) mod status;
mod swapped;
mod theirs;
