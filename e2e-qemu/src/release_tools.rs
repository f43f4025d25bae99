//! What the tests of releases make them with, and hold them to.

use std::path::Path;
use std::process::Command;

use crate::host;
use crate::peer::Module;

/// CNCF's registry: what most registries are made from.
pub const REGISTRY: Module = Module {
    name: "registry",
    suite: "",
    what: "a registry",
    files: &[
        ("go.mod", include_str!("../release/registry/go.mod")),
        ("go.sum", include_str!("../release/registry/go.sum")),
        ("tools.go", include_str!("../release/registry/tools.go")),
    ],
    packages: &["github.com/distribution/distribution/v3/cmd/registry"],
    binaries: &["registry"],
    upstream: "github.com/distribution/distribution/v3",
    flags: &[],
    version_in: &[],
};

/// actionlint, which reads GitHub's workflows as GitHub does.
pub const ACTIONLINT: Module = Module {
    name: "actionlint",
    what: "actionlint",
    files: &[
        ("go.mod", include_str!("../release/actionlint/go.mod")),
        ("go.sum", include_str!("../release/actionlint/go.sum")),
        ("tools.go", include_str!("../release/actionlint/tools.go")),
    ],
    packages: &["github.com/rhysd/actionlint/cmd/actionlint"],
    binaries: &["actionlint"],
    upstream: "github.com/rhysd/actionlint",
    ..REGISTRY
};

/// `make` in `dir` as a person calls it there: not as part of the make or cargo that may run us, with their variables.
#[must_use]
pub fn make(dir: &Path) -> Command {
    let mut make = host::command("make");
    for theirs in [
        "CARGO",
        "CARGO_TARGET_DIR",
        "MAKEFLAGS",
        "MAKELEVEL",
        "MFLAGS",
        "RUSTUP_TOOLCHAIN",
    ] {
        make.env_remove(theirs);
    }
    make.current_dir(dir);
    make
}
