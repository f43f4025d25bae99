# A tree that a user-mode kernel boots. $1 is its root; runs after node.sh.
set -eu
root=$1

# The kernel finds its modules where every other kernel has them; the package comes with their index.
mv "$root"/usr/lib/uml/modules/* "$root/usr/lib/modules/"

# A kubelet's node writes its logs here; something is mounted on it.
mkdir -p "$root/var/log"
# containerd gives pods copies of these.
printf '127.0.0.1\tlocalhost\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
