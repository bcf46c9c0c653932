/**
 * How etcd and kube-apiserver are started, for the whole cluster and for the bare API server of tests alike: what a test sees is what the cluster does.
 */
import type { KeyPair } from './certificates.ts'
import { binary } from './binaries.ts'

export type EtcdPlan = { readonly dataFolder: string; readonly clientPort: number; readonly peerPort: number }

export type ApiServerPlan = {
  readonly etcdPort: number
  readonly bindAddress: string
  readonly advertiseAddress: string
  readonly port: number
  readonly authority: KeyPair
  readonly serving: KeyPair
  readonly kubeletClient: KeyPair
  readonly tokenKey: { readonly privateFile: string; readonly publicFile: string }
  readonly auditPolicyFile: string
  readonly auditLogFile: string
  readonly extra?: readonly string[]
}

/**
 * Writes, lists and watches; not single reads, which would drown the rest. A watch is written when it starts (ResponseStarted) and when it ends.
 * Scenarios read the log to prove that nothing is written at rest.
 */
export const AUDIT_POLICY = `${JSON.stringify(
  {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: [{ level: 'None', verbs: ['get'] }, { level: 'None', nonResourceURLs: ['*'] }, { level: 'Metadata' }],
  },
  undefined,
  2,
)}\n`

/** fsync is off: this etcd keeps a test's objects, and its disk is the one the queues under test are measured on. */
export function etcdArguments(plan: EtcdPlan): string[] {
  const client = `http://127.0.0.1:${plan.clientPort}`
  const peer = `http://127.0.0.1:${plan.peerPort}`
  return [
    binary('etcd'),
    '--name=local',
    `--data-dir=${plan.dataFolder}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=local=${peer}`,
  ]
}

export function apiServerArguments(plan: ApiServerPlan): string[] {
  return [
    binary('kube-apiserver'),
    `--etcd-servers=http://127.0.0.1:${plan.etcdPort}`,
    `--bind-address=${plan.bindAddress}`,
    `--advertise-address=${plan.advertiseAddress}`,
    `--secure-port=${plan.port}`,
    `--tls-cert-file=${plan.serving.certFile}`,
    `--tls-private-key-file=${plan.serving.keyFile}`,
    `--client-ca-file=${plan.authority.certFile}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    '--service-cluster-ip-range=10.96.0.0/16',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${plan.tokenKey.publicFile}`,
    `--service-account-signing-key-file=${plan.tokenKey.privateFile}`,
    `--kubelet-client-certificate=${plan.kubeletClient.certFile}`,
    `--kubelet-client-key=${plan.kubeletClient.keyFile}`,
    // Node names are not in any DNS here: exec and logs must go to addresses.
    '--kubelet-preferred-address-types=InternalIP',
    `--audit-policy-file=${plan.auditPolicyFile}`,
    `--audit-log-path=${plan.auditLogFile}`,
    '--audit-log-maxsize=1024',
    ...(plan.extra ?? []),
  ]
}
