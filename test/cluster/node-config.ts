/** The files a node boots with. Pure: from the plan to text. */
import { CLUSTER_DNS_ADDRESS, INTERNET_DNS_ADDRESS, type NodePlan, PAUSE_IMAGE, POD_NETWORK } from './plan.ts'

/** File name → content, all in the node's config folder. */
export function nodeConfigFiles(node: NodePlan): Readonly<Record<string, string>> {
  return {
    'containerd.toml': CONTAINERD,
    'cni/10-pods.conflist': json(podNetwork(node)),
    'kubelet.json': json(kubeletConfiguration(node)),
    'kubelet.flags': `${kubeletFlags(node).join('\n')}\n`,
    'kube-proxy.json': json(PROXY),
    'resolv.conf': `nameserver ${INTERNET_DNS_ADDRESS}\noptions timeout:2 attempts:2\n`,
  }
}

// restrict_oom_score_adj: without CAP_SYS_RESOURCE a sandbox may not lower its score, and runc then dies with "can't get final child's PID from pipe".
const CONTAINERD = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/mnt/node/config/cni"
`

/** Routed, not bridged: answers to a Pod on the same node pass the node's own routing, so that a Service between them works without br_netfilter. */
function podNetwork(node: NodePlan): object {
  const ipam = { type: 'host-local', subnet: node.podSubnet, routes: [{ dst: '0.0.0.0/0' }], dataDir: '/run/cni' }
  return { cniVersion: '0.4.0', name: 'pods', plugins: [{ type: 'ptp', ipMasq: false, ipam }] }
}

function kubeletConfiguration(node: NodePlan): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: node.address,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: '/mnt/node/config/ca.crt' } },
    authorization: { mode: 'Webhook' },
    readOnlyPort: 0,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroupName(node)}`,
    failCgroupV1: false,
    failSwapOn: false,
    clusterDomain: 'cluster.local',
    clusterDNS: [CLUSTER_DNS_ADDRESS],
    resolvConf: '/mnt/node/config/resolv.conf',
    // Half of it is the time a renewal may fail before node-monitor-grace-period (20 s) runs out.
    nodeStatusUpdateFrequency: '4s',
    // How soon a changed Secret reaches a running Pod; a minute by default.
    syncFrequency: '10s',
    nodeLeaseDurationSeconds: 20,
    serializeImagePulls: false,
    // All nodes share one disk and one memory: what counts here is that none of them evicts because of another.
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%', 'nodefs.inodesFree': '1%' },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
  }
}

function kubeletFlags(node: NodePlan): string[] {
  const labels = { 'topology.kubernetes.io/region': 'region-1', 'topology.kubernetes.io/zone': node.zone }
  const list = Object.entries(labels).map(([key, value]) => `${key}=${value}`)
  return [`--hostname-override=${node.name}`, `--node-ip=${node.address}`, `--node-labels=${list.join(',')}`]
}

/** nftables, because IPVS and iptables are not in every kernel; conntrack limits belong to the machine, not to us. */
const PROXY = {
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  mode: 'nftables',
  clusterCIDR: POD_NETWORK,
  clientConnection: { kubeconfig: '/mnt/node/config/kube-proxy.kubeconfig' },
  conntrack: { maxPerCore: 0 },
  metricsBindAddress: '127.0.0.1:10249',
  healthzBindAddress: '127.0.0.1:10256',
}

export function cgroupName(node: NodePlan): string {
  return node.namespace
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
