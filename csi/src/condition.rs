//! CSI's word on how a volume is, which the controller and the node give alike.

use crate::proto::VolumeCondition;

/// The condition of a volume with which this is wrong; `None`: nothing is known to be.
pub(crate) fn condition(wrong: Option<String>) -> VolumeCondition {
    // Upstream's words for a volume that is well.
    let well = || "volume is healthy and operating normally".to_owned();
    VolumeCondition {
        abnormal: wrong.is_some(),
        message: wrong.unwrap_or_else(well),
    }
}
