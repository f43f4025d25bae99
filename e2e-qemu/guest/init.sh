#!/bin/busybox sh
# The first process of a virtual machine, from its initramfs: finds the root, lays it out like a user-mode guest's,
# and hands over to the agent.
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
$busybox mount -t proc proc /proc
for module in /modules/*.ko; do
  $busybox insmod "$module" || echo "init: $module does not load"
done

# The root is read-only; a tmpfs on top of it gives mount points for whatever the host shares.
$busybox mount -t squashfs -o ro /dev/vda /ro || exec $busybox poweroff -f
$busybox mount -t tmpfs -o mode=755 root /root
lay() {
  for entry in "/ro$1"/*; do
    path=$1/${entry##*/}
    if [ -L "$entry" ]; then
      $busybox cp -P "$entry" "/root$path"
    elif [ -d "$entry" ]; then
      $busybox mkdir "/root$path"
      case $path in
        /dev | /proc | /sys | /run | /tmp) ;;
        /usr | /etc | /var/?*) $busybox mount -o bind "$entry" "/root$path" ;;
        *) lay "$path" ;;
      esac
    elif [ -e "$entry" ]; then
      : >"/root$path"
      $busybox mount -o bind "$entry" "/root$path"
    fi
  done
}
lay ""
# Scratch space of the host may be shared at its own path.
$busybox umount /root/var/tmp 2>/dev/null

options=trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro
$busybox mkdir /root/.basalt
$busybox mount -t 9p -o $options agent /root/.basalt || exec $busybox poweroff -f
$busybox mount -t 9p -o $options modules /root/usr/lib/modules || exec $busybox poweroff -f
$busybox mount -o move /dev /root/dev
$busybox umount /proc
exec $busybox switch_root /root /.basalt/agent agent vport0p1
