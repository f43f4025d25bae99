//! What cargo needs to build our programs for another processor: Debian's cross compiler, and libudev of the tree they will run in.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::arch::Arch;

/// Cargo's configuration for `arch`, with what the linker needs of `tree` in the folder `dir`.
///
/// # Errors
/// The tree has no libudev, or the folder cannot be written.
pub fn config(arch: Arch, tree: &Path, dir: &Path) -> anyhow::Result<String> {
    let library = tree
        .join("usr/lib")
        .join(arch.triplet())
        .join("libudev.so.1");
    ensure!(library.exists(), "{} is not there", library.display());
    let cannot = || format!("cannot write to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(cannot)?;
    // The name that the linker looks for comes with Debian's development package, which no tree has.
    let link = dir.join("libudev.so");
    if link.is_symlink() {
        std::fs::remove_file(&link).with_context(cannot)?;
    }
    std::os::unix::fs::symlink(&library, &link).with_context(cannot)?;
    // libudev may need a newer C library than the cross compiler's; the closure looks for what it needs in the tree.
    Ok(format!(
        "[target.{target}]\nlinker = \"{triplet}-gcc\"\n\
         rustflags = [\"-C\", \"link-arg=-Wl,--allow-shlib-undefined\"]\n\n\
         [target.{target}.libudev]\nrustc-link-lib = [\"udev\"]\nrustc-link-search = [{dir:?}]\n",
        target = arch.target(),
        triplet = arch.triplet(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_finds_the_library_of_the_tree() {
        let work = tempfile::tempdir().unwrap();
        let (tree, dir) = (work.path().join("tree"), work.path().join("link"));
        let libraries = tree.join("usr/lib/aarch64-linux-gnu");
        std::fs::create_dir_all(&libraries).unwrap();
        let missing = config(Arch::Arm64, &tree, &dir).unwrap_err();
        assert!(missing.to_string().ends_with("libudev.so.1 is not there"));
        std::fs::write(libraries.join("libudev.so.1"), "elf").unwrap();
        for _ in 0..2 {
            let text = config(Arch::Arm64, &tree, &dir).unwrap();
            assert!(text.contains(&format!("rustc-link-search = [\"{}\"]", dir.display())));
            assert!(text.contains("linker = \"aarch64-linux-gnu-gcc\""));
            assert_eq!(std::fs::read(dir.join("libudev.so")).unwrap(), b"elf");
        }
    }
}
