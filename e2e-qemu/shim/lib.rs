//! Preloaded into a user-mode kernel: takes the place of functions of the C library with which that kernel does not
//! get along with its host.
//!
//! Built by build.rs without the standard library, because it is loaded into a foreign program.

#![no_std]

mod registers;
mod ticks;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
