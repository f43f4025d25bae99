# A tree that a user-mode kernel boots. $1 is its root; runs after node.sh.
set -eu
root=$1

# The kernel finds its modules where every other kernel has them.
for modules in "$root"/usr/lib/uml/modules/*; do
  mv "$modules" "$root/usr/lib/modules/"
  depmod --basedir "$root" "${modules##*/}"
done
