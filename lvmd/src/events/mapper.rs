//! Device-mapper's events.
//!
//! The control device polls readable once any device has had an event since it was last
//! armed. Arming comes before looking, so an event in between is seen by the look or wakes
//! again. A pool that fills below its low-water mark makes no event.

use std::io;

use super::Heard;
use crate::dm::Control;

pub(super) fn open() -> io::Result<Control> {
    let control = Control::open()?;
    control.arm_poll()?;
    Ok(control)
}

pub(super) fn drain(control: &Control) -> io::Result<Heard> {
    control.arm_poll().map(|()| Heard::News)
}
