//! Upstream's programs. Guest tests of other crates use it too.

use std::path::{Path, PathBuf};

/// Where `e2e_qemu::peer::build` left a program, or where BASALT_PEER says.
pub fn built(program: &str) -> PathBuf {
    let told = std::env::vars()
        .find(|(key, _)| key == "BASALT_PEER")
        .map(|(_, dir)| dir);
    let dir = told.map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/peer/current"),
        PathBuf::from,
    );
    let path = dir.join(program);
    assert!(
        path.is_file(),
        "{} is not there: `e2e-qemu test` builds it",
        path.display()
    );
    path
}
