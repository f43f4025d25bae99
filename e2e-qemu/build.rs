//! Builds `shim/` into a shared library that the uml backend carries.

use std::env;
use std::path::PathBuf;

#[expect(
    clippy::disallowed_methods,
    reason = "a build script gets its input through the environment and calls the compiler"
)]
fn main() {
    println!("cargo::rerun-if-changed=shim");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("shim.so");
    let rustc = env::var("RUSTC").expect("cargo sets RUSTC");
    let status = std::process::Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=shim"])
        .args([
            "-Copt-level=2",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Clink-arg=-nostartfiles",
        ])
        .arg("shim/lib.rs")
        .arg("-o")
        .arg(&out)
        .status()
        .expect("the compiler starts");
    assert!(status.success(), "shim/lib.rs does not compile");
}
