//! The Kubernetes half: LogicalVolume objects, written by the controller and fulfilled by
//! the node that each of them names. They are upstream's, so either side may be upstream.

pub mod logical_volume;
pub mod size;
