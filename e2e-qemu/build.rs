//! Builds `shim/registers.rs` into a shared library that the uml backend carries.

use std::env;
use std::path::PathBuf;

#[expect(
    clippy::disallowed_methods,
    reason = "a build script gets its input through the environment and calls the compiler"
)]
fn main() {
    println!("cargo::rerun-if-changed=shim/registers.rs");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("registers.so");
    let rustc = env::var("RUSTC").expect("cargo sets RUSTC");
    let status = std::process::Command::new(rustc)
        .args([
            "--edition=2024",
            "--crate-type=cdylib",
            "--crate-name=registers",
        ])
        .args([
            "-Copt-level=2",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Clink-arg=-nostartfiles",
        ])
        .arg("shim/registers.rs")
        .arg("-o")
        .arg(&out)
        .status()
        .expect("the compiler starts");
    assert!(status.success(), "shim/registers.rs does not compile");
}
