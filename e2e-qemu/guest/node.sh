# Makes a guest fit for a kubelet: DISK, NAME, ADDRESS, PODS (a CIDR), GATEWAY, DIR (the cluster's folder), PAUSE, REGISTRY.
# What a node keeps over a reboot is on its first disk, as on Talos' EPHEMERAL partition.
set -eu
[ -n "$(blkid -p -o value -s TYPE "$DISK" || true)" ] || mkfs.ext4 -q "$DISK"
mkdir -p /var/lib/node
mount "$DISK" /var/lib/node
for dir in kubelet containerd disk-watcher basalt log; do mkdir -p "/var/lib/node/$dir"; done
for dir in kubelet containerd disk-watcher basalt; do
  mkdir -p "/var/lib/$dir"
  mount --bind "/var/lib/node/$dir" "/var/lib/$dir"
done
mount --bind /var/lib/node/log /var/log
mkdir -p /var/log/pods /run/cni

# vec0 of a user-mode kernel; a virtual machine's has the name of its slot.
for path in /sys/class/net/*; do [ "${path##*/}" = lo ] || nic=${path##*/}; done
ip addr add "$ADDRESS/24" dev "$nic"
ip link set "$nic" up
ip route add default via "$GATEWAY"

# cadvisor wants the processor's clock and topology, which a user-mode kernel does not show.
{ grep -v '^$' /proc/cpuinfo; printf 'cpu MHz\t\t: 3000.000\nphysical id\t: 0\ncore id\t\t: 0\n\n'; } >/run/cpuinfo
mount --bind /run/cpuinfo /proc/cpuinfo
mount --make-rshared /
echo "+cpu +io +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control

cat >/run/cni/10-node.conflist <<C
{"cniVersion": "1.0.0", "name": "node", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
C
cat >/run/containerd.toml <<C
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$PAUSE"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/run/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "/usr/sbin/runc"
      SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "/run/cni"
C
# What this machine's loopback would have, the gateway has.
mkdir -p "/run/certs.d/$REGISTRY"
echo "[host.\"http://$GATEWAY:${REGISTRY##*:}\"]" >"/run/certs.d/$REGISTRY/hosts.toml"
cat >/run/kubelet.yaml <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $DIR/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $DIR/$NAME.crt
tlsPrivateKeyFile: $DIR/$NAME.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failSwapOn: false
resolvConf: ""
volumePluginDir: /var/lib/kubelet/volumeplugins
evictionHard: {memory.available: 0%, nodefs.available: 0%, imagefs.available: 0%, nodefs.inodesFree: 0%, imagefs.inodesFree: 0%}
imageGCHighThresholdPercent: 100
syncFrequency: 10s
maxPods: 200
kubeAPIQPS: 100
kubeAPIBurst: 200
C
