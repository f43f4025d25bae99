#!/bin/sh
# Installs what building and testing need and is not there; `setup.sh arm64`: for arm64 too. Says so where it cannot.
set -eu
needs="mmdebstrap:mmdebstrap mksquashfs:squashfs-tools qemu-system-x86_64:qemu-system-x86 pkg-config:pkg-config cc:gcc lvm:lvm2 ip:iproute2 openssl:openssl e2fsck:e2fsprogs depmod:kmod skopeo:skopeo dpkg-source:dpkg-dev"
missing=""
for need in $needs; do
    command -v "${need%%:*}" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin command -v "${need%%:*}" >/dev/null 2>&1 || missing="$missing ${need#*:}"
done
pkg-config --exists libudev 2>/dev/null || missing="$missing libudev-dev"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
command -v cargo >/dev/null 2>&1 || { echo "setup: cargo is missing: install rustup; rust-toolchain.toml names the version" >&2; exit 1; }
command -v go >/dev/null 2>&1 || { echo "setup: go is missing: the tests build upstream's lvmd from its Go module" >&2; exit 1; }
needs_target() {
    rustup target list --installed 2>/dev/null | grep -qx "$1" || rustup target add "$1" >/dev/null 2>&1 || { echo "setup: rustup could not add $1" >&2; exit 1; }
}
# The thin tools are built as static programs.
needs_target x86_64-unknown-linux-musl
if [ "${1-}" = arm64 ]; then
    command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 || missing="$missing gcc-aarch64-linux-gnu"
    [ -e /usr/aarch64-linux-gnu/include/stdio.h ] || missing="$missing libc6-dev-arm64-cross"
    needs_target aarch64-unknown-linux-gnu
    needs_target aarch64-unknown-linux-musl
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "setup: installing$missing"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "setup: these Debian packages, or what your system calls them, are missing:$missing" >&2
    exit 1
fi
