# A kernel for virtual machines. $1 is its root; runs after base.sh. Keeps the kernel, its modules and busybox.
set -eu
root=$1

mkdir -p "$root/keep"
mv "$root"/boot/vmlinuz-* "$root/keep/vmlinuz"
mv "$root/usr/bin/busybox" "$root/keep/busybox"
mv "$root/usr/share/basalt/packages.tsv" "$root/keep/packages.tsv"
mv "$root/usr/lib/modules" "$root/keep/modules"
find "$root" -mindepth 1 -maxdepth 1 ! -name keep -exec rm -rf {} +
mv "$root"/keep/* "$root/"
rmdir "$root/keep"
mkdir "$root/lib"
ln -s ../modules "$root/lib/modules"
for modules in "$root"/modules/*; do
  depmod --basedir "$root" "${modules##*/}"
done
