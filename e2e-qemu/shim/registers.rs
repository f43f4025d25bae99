//! Lets a user-mode kernel before 6.13 run on hosts whose register state is larger than it knows.
//!
//! Such a kernel sets its processes' vector registers with `ptrace(PTRACE_SETREGSET, NT_X86_XSTATE)` and a state
//! of the fixed size 2696, enough for AVX-512. A host with AMX has 11008 and refuses anything shorter with
//! EFAULT, and the kernel kills its first process. This takes the place of `ptrace`: what is
//! too short is filled up with zeroes, which say "in its initial state" for every register the kernel does not
//! know of. Everything else goes through unchanged.

use core::ffi::{c_int, c_long, c_void};

const SYS_PTRACE: c_long = 101;
const PEEK: core::ops::RangeInclusive<c_int> = 1..=3;
const GETREGSET: c_int = 0x4204;
const SETREGSET: c_int = 0x4205;
const NT_X86_XSTATE: usize = 0x202;
const ROOM: usize = 1 << 16;

#[repr(C)]
struct IoVec {
    base: *mut u8,
    len: usize,
}

/// The state filled up; its tail is never written, so it stays zero. The kernel has one thread that traces.
static mut STATE: [u8; ROOM] = [0; ROOM];
/// What the host takes; 0 until the first refusal.
static mut FULL: usize = 0;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: c_int, n: usize) -> *mut u8;
    fn __errno_location() -> *mut c_int;
}

/// In place of the C library's.
///
/// # Safety
/// As `ptrace(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(request: c_int, pid: c_int, addr: *mut c_void, data: *mut c_void) -> c_long {
    // SAFETY: the arguments are the caller's own, passed on as ptrace(2) defines them; STATE and FULL are touched
    // by the one tracing thread only.
    unsafe {
        if PEEK.contains(&request) {
            // The system call stores what it peeked; the C function returns it.
            let mut value: c_long = 0;
            let result = syscall(SYS_PTRACE, request, pid, addr, &raw mut value);
            if result < 0 {
                return result;
            }
            // A peeked -1 is told from a failure by errno alone.
            *__errno_location() = 0;
            return value;
        }
        if request != SETREGSET || addr as usize != NT_X86_XSTATE {
            return syscall(SYS_PTRACE, request, pid, addr, data);
        }
        let given = &*data.cast::<IoVec>();
        if FULL == 0 {
            let result = syscall(SYS_PTRACE, request, pid, addr, data);
            if result == 0 || given.len >= ROOM {
                return result;
            }
            let all = IoVec { base: (&raw mut STATE).cast(), len: ROOM };
            if syscall(SYS_PTRACE, GETREGSET, pid, addr, &raw const all) < 0 {
                return -1;
            }
            memset((&raw mut STATE).cast(), 0, ROOM);
            FULL = all.len;
        }
        if given.len >= FULL {
            return syscall(SYS_PTRACE, request, pid, addr, data);
        }
        memcpy((&raw mut STATE).cast(), given.base, given.len);
        let filled = IoVec { base: (&raw mut STATE).cast(), len: FULL };
        syscall(SYS_PTRACE, request, pid, addr, &raw const filled)
    }
}
