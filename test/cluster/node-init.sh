#!/bin/sh
# Process 1 of a node, in its own mount, process, host name and network namespaces: it boots the node. When it is killed everything in the node is gone in the same
# instant, mounts included; what is in the node's folder stays, as a machine's disks do.
# Usage: node-init.sh NAME FOLDER PROGRAMS
set -eu
name=$1 folder=$2 programs=$3
hostname "$name"
mount --make-rshared /
mount -t tmpfs -o mode=755 node-mnt /mnt
mkdir /mnt/node /mnt/programs /mnt/ssd
mount --bind "$folder" /mnt/node
mount --bind "$programs" /mnt/programs
# Like a machine's: /run is empty after a power cut (a socket file left in it would look like a running containerd), /var/lib and /var/log are not.
mount -t tmpfs -o mode=755 node-run /run
mount --bind /mnt/node/var-lib /var/lib
mount --bind /mnt/node/var-log /var/log
for disk in /mnt/node/disks/*.img; do
  slot=$(basename "$disk" .img)
  mkdir "/mnt/ssd/$slot"
  # A broken disk does not keep a machine from booting.
  mount -o loop,noatime "$disk" "/mnt/ssd/$slot" || echo "$name: disk $slot cannot be mounted" >&2
done

# What a machine's service manager does for these three. Each end is written down.
keep() {
  log=/var/log/$1.log
  shift
  while :; do
    status=0
    "$@" >>"$log" 2>&1 || status=$?
    echo "$1 ended with status $status and is started again" | tee -a "$log" >&2
    sleep 1
  done
}
keep containerd containerd --config /mnt/node/config/containerd.toml &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr --namespace k8s.io images import /mnt/node/config/pause.tar >/dev/null
keep kube-proxy /mnt/programs/kube-proxy --config=/mnt/node/config/kube-proxy.json --hostname-override="$name" &
# shellcheck disable=SC2046 # the file holds one flag a line
keep kubelet /mnt/programs/kubelet --config=/mnt/node/config/kubelet.json --kubeconfig=/mnt/node/config/kubelet.kubeconfig $(cat /mnt/node/config/kubelet.flags) &
wait
