//! e2e-qemu
