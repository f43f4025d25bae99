# Finishes an extracted tree. $1 is its root. What maintainer scripts would have done, as far as it is needed.
set -eu
root=$1

# The exact packages, for the SBOM: name, version, architecture, sha256 of the archive.
mkdir -p "$root/usr/share/basalt"
for deb in "$root"/var/cache/apt/archives/*.deb; do
  printf '%s\t%s\n' "$(dpkg-deb --show --showformat='${Package}\t${Version}\t${Architecture}' "$deb")" "$(sha256sum <"$deb" | cut -d' ' -f1)"
done | sort >"$root/usr/share/basalt/packages.tsv"

# Places that something is mounted on: the root itself is read-only in every use.
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/mnt" "$root/root" \
  "$root/var/lib" "$root/etc/lvm" "$root/usr/lib/modules"
chmod 1777 "$root/tmp"

# mmdebstrap copies the builder's own identity; a tree is the same wherever it was made.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/machine-id"
: >"$root/etc/fstab"
rm -rf "$root/etc/apt" "$root/var/log" "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" \
  "$root/usr/share/info" "$root/usr/share/lintian"
