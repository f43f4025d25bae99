//! What is shipped, and what the tests boot: one root tree, made from one recipe.
//!
//! - [`recipe`] says what is in a tree: packages, suite, finishing scripts. Pure data with a hash.
//! - [`mirror`] finds where this Debian host gets its packages from, so that a tree comes from the same place.
//! - [`tree`] builds a tree with `mmdebstrap` and caches it by the recipe's hash. The calling thread starts
//!   one `unshare mmdebstrap` and waits for it; it dies with the caller.
//! - [`image`] is the node image: [`rootfs`] says what is where, [`closure`] finds what programs need, [`layer`]
//!   packs it, [`oci`] lays it out.
//! - [`arch`] names processors, [`cross`] is how programs are built for another one.
//! - [`krew`] is the archive and the manifest of `kubectl topolvm`.
//! - [`thin_tools`] are Debian's thin tools as one static program.
//! - [`sysext`] is for systems with systemd-sysext, packed by [`squashfs`].
//! - [`talos`] is the same for Talos: system extensions.
//! - [`release`] is all of it under one version, with what it is made of, and pushes it.
//! - [`progress`] tells people what a long step does and how long it took, on a terminal only.
//! - [`host`] is the one door to other programs.

pub mod arch;
pub mod closure;
pub mod cross;
pub mod host;
pub mod image;
pub mod krew;
pub mod layer;
pub mod mirror;
pub mod oci;
pub mod progress;
pub mod recipe;
pub mod release;
pub mod rootfs;
pub mod squashfs;
pub mod sysext;
pub mod talos;
pub mod thin_tools;
pub mod tree;

pub use arch::Arch;
pub use recipe::Recipe;
pub use tree::{Cache, TreeError};
