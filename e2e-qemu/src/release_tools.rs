//! Programs that the tests of releases hold them to: a registry, and a judge of GitHub's workflows.

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
