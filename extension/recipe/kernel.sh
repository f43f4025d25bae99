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
  # No machine of ours has such hardware, and indexing it takes longer than all the rest.
  for unused in sound drivers/gpu drivers/media drivers/infiniband drivers/iio drivers/staging drivers/bluetooth \
    drivers/comedi drivers/hwmon drivers/input drivers/hid drivers/net/wireless drivers/net/ethernet net/bluetooth \
    net/mac80211 net/wireless; do
    rm -rf "$modules/kernel/$unused"
  done
  depmod --basedir "$root" "${modules##*/}"
done
