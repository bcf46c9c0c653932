/** The Kubernetes objects that make an empty control plane our cluster: storage classes, one volume a disk, and the cluster's DNS. Pure. */
import { CLUSTER_DNS_ADDRESS, CLUSTER_DNS_PORT, type DiskPlan, type NodePlan, WORLD_ADDRESS } from './plan.ts'

/** Put on every volume, so that ours can be told from others. */
export const NODE_LABEL = 'mtafleet.test/node'
export const SLOT_LABEL = 'mtafleet.test/slot'
export const SIZE_LABEL = 'mtafleet.test/size'

export function clusterObjects(nodes: readonly NodePlan[]): object[] {
  return [
    ...['local-ssd', 'local-ssd-small'].map(storageClass),
    ...nodes.flatMap((node) => node.disks.map((disk) => persistentVolume(node, disk))),
    ...DNS,
  ]
}

function storageClass(name: string): object {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name },
    provisioner: 'kubernetes.io/no-provisioner',
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Retain',
  }
}

function persistentVolume(node: NodePlan, disk: DiskPlan): object {
  const labels = { [NODE_LABEL]: node.name, [SLOT_LABEL]: String(disk.slot), [SIZE_LABEL]: disk.slot === 'small' ? 'small' : 'normal' }
  const onNode = { key: 'kubernetes.io/hostname', operator: 'In', values: [node.name] }
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: disk.volume, labels },
    spec: {
      capacity: { storage: `${disk.mebibytes}Mi` },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: disk.storageClass,
      local: { path: disk.mountPoint },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [onNode] }] } },
    },
  }
}

const PORTS = [
  { name: 'dns', protocol: 'UDP' },
  { name: 'dns-tcp', protocol: 'TCP' },
]

/** CoreDNS runs beside the control plane, so the Service has no selector and its endpoint is written by hand. */
const DNS: readonly object[] = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kube-dns', namespace: 'kube-system' },
    spec: { clusterIP: CLUSTER_DNS_ADDRESS, ports: PORTS.map((port) => ({ ...port, port: 53, targetPort: CLUSTER_DNS_PORT })) },
  },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'kube-dns', namespace: 'kube-system', labels: { 'kubernetes.io/service-name': 'kube-dns' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [WORLD_ADDRESS], conditions: { ready: true } }],
    ports: PORTS.map((port) => ({ ...port, port: CLUSTER_DNS_PORT })),
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'mtafleet-coredns' },
    rules: [
      { apiGroups: [''], resources: ['services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'mtafleet-coredns' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'mtafleet-coredns' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:coredns' }],
  },
]
