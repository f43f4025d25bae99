//! Gives a user-mode kernel (6.1 to 6.12) its clock back when it has lost a tick.
//!
//! Such a kernel's clock is a timer that is set for one tick at a time, and it is the handler of a tick that sets it for
//! the next. A tick that comes in the middle of another's handler while signals are blocked is dropped
//! (`unblock_signals`: "do not reenter the handler"). From then on no timer fires: nobody is woken, nobody's time is
//! up, until the kernel has nothing to do and sets the timer anew. A kernel that always has something to do hangs. So
//! a timer that was set for one tick ticks on, slowly; the handler sees that nothing is due and sets the next tick.

use core::ffi::{c_int, c_long, c_void};

const SYS_TIMER_SETTIME: c_long = 223;
/// How long a lost tick is lost, in nanoseconds.
const AGAIN: c_long = 100_000_000;

#[repr(C)]
#[derive(Clone, Copy)]
struct TimeSpec {
    seconds: c_long,
    nanoseconds: c_long,
}

impl TimeSpec {
    fn is_zero(self) -> bool {
        self.seconds == 0 && self.nanoseconds == 0
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct TimerSpec {
    interval: TimeSpec,
    value: TimeSpec,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// In place of the C library's. The C library's timers that signal a thread have the system's own ids, and the kernel
/// uses no others.
///
/// # Safety
/// As `timer_settime(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timer_settime(
    timer: *mut c_void,
    flags: c_int,
    new: *const TimerSpec,
    old: *mut TimerSpec,
) -> c_int {
    // SAFETY: the arguments are the caller's own, passed on as timer_settime(2) defines them.
    unsafe {
        let mut new = *new;
        if new.interval.is_zero() && !new.value.is_zero() {
            new.interval.nanoseconds = AGAIN;
        }
        syscall(SYS_TIMER_SETTIME, timer, flags, &raw const new, old) as c_int
    }
}
