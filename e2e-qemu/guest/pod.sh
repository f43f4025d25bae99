# pod.sh LOCK CMD...: runs CMD as in a pod: the node's tree as root, and mounts, IPC objects and processes of its own.
# LOCK says what its /run/lock/lvm is: `bound`, the node's; `shown`, the node's, with the node's /run at /host/run too;
# `private`, its own; `private-shown`, its own, with the node's /run at /host/run.
# With HOST_PID=1 it sees the node's processes (hostPID).
set -eu
lock=$1
shift
if [ "${POD_INSIDE:-}" = "" ]; then
  pid="--pid --mount-proc --kill-child"
  [ "${HOST_PID:-}" = "" ] || pid=""
  exec env POD_INSIDE=1 unshare --mount --ipc $pid --fork --propagation private sh "$0" "$lock" "$@"
fi
root=$(mktemp -d /tmp/pod.XXXXXX)
mount -t tmpfs -o mode=755 pod "$root"
cd "$root"
bind() { mkdir -p ".$1"; mount --"${2:-bind}" "$1" ".$1"; }
bind /usr
bind /etc
bind "$WORKSPACE"
cp -P /bin /sbin /lib /lib64 .
bind /dev rbind
bind /proc rbind
bind /sys rbind
bind /run/udev
for dir in /run/topolvm /run/disk-watcher /var/lib/disk-watcher; do
  mkdir -p "$dir"
  bind "$dir"
done
case $lock in bound | shown) bind /run/lock/lvm ;; *) mkdir -p run/lock/lvm ;; esac
case $lock in *shown) mkdir -p host/run; mount --rbind /run host/run; mount -o remount,bind,ro host/run ;; esac
mkdir -p tmp old
pivot_root . old
exec chroot . sh -euc 'umount -l /old; exec "$@"' sh "$@"
