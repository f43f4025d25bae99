//! How much memory a daemon keeps for itself.

use nix::libc;

/// Has all threads allocate from two arenas; call it before the first thread is made.
///
/// glibc makes an arena for each thread that allocates beside another, up to eight for each processor, and each keeps
/// what one of its threads once needed (mallopt(3), `M_ARENA_MAX`). Threads that wait for devices come and go by the
/// dozen here, each with the metadata of a volume group in its hands: a daemon that is read from would grow for hours.
#[expect(
    unsafe_code,
    reason = "the C library has no safe door to its allocator"
)]
pub fn two_arenas() {
    // SAFETY: mallopt takes two numbers and touches nothing but the allocator's own settings.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    debug_assert_eq!(taken, 1, "mallopt knows M_ARENA_MAX");
}
