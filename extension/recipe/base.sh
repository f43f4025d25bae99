# Makes an unpacked tree the same wherever it was made. $1 is its root.
set -eu
root=$1

mkdir -p "$root/usr/share/basalt"
mv "$root/packages.tsv" "$root/files.tsv" "$root/usr/share/basalt/"

# Places that something is mounted on: the root itself is read-only in every use.
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/mnt" "$root/root" \
  "$root/var/lib" "$root/etc/lvm" "$root/usr/lib/modules"
chmod 1777 "$root/tmp"

# The licences stay with the programs.
for copyright in "$root"/usr/share/doc/*/copyright; do
  package=${copyright%/copyright}
  install -D -m 644 "$copyright" "$root/usr/share/basalt/copyright/${package##*/}"
done

# What belongs to the builder, to package management, or to people.
rm -rf "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/machine-id" "$root/etc/apt" "$root/var/log" \
  "$root/var/cache" "$root/var/lib/apt" "$root/var/lib/dpkg" \
  "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/info" "$root/usr/share/lintian"
: >"$root/etc/fstab"
