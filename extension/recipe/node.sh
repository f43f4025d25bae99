# A tree that programs run in. $1 is its root; runs after base.sh.
set -eu
root=$1

for file in passwd group; do
  [ -e "$root/etc/$file" ] || cp "$root/usr/share/base-passwd/$file.master" "$root/etc/$file"
done
# udev names groups that its own package would have added.
for group in input:101 sgx:102 kvm:103 render:104; do
  grep -q "^${group%:*}:" "$root/etc/group" || echo "${group%:*}:x:${group#*:}:" >>"$root/etc/group"
done
[ -e "$root/usr/bin/awk" ] || ln -s mawk "$root/usr/bin/awk"
ldconfig -r "$root"
