/** What runs in the world: etcd, the API server, its controllers, the scheduler, CoreDNS; and the door through which this machine reaches the API server. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { binary } from './binaries.ts'
import { createAuthority, createTokenKey, formatKubeconfig, issueCertificate, type Subject } from './certificates.ts'
import { AUDIT_POLICY, apiServerArguments, etcdArguments } from './control-plane.ts'
import {
  API_PORT,
  CLUSTER_DNS_PORT,
  DOOR_PORT,
  INTERNET_DNS_ADDRESS,
  type NodePlan,
  SILENT_DNS_ADDRESS,
  WORLD,
  WORLD_ADDRESS,
} from './plan.ts'
import { isRunning, startProcess } from './processes.ts'
import { lastLines, runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { auditLogPath, clusterFolder, kubeconfigPath, logFile, nodeFolder, pkiFolder } from './state.ts'

const API_URL = `https://${WORLD_ADDRESS}:${API_PORT}`
export const API_SERVER = 'kube-apiserver'

const SUBJECTS: Readonly<Record<string, Subject>> = {
  apiserver: {
    commonName: 'kube-apiserver',
    altNames: [
      `IP:${WORLD_ADDRESS}`,
      'IP:127.0.0.1',
      'IP:10.96.0.1',
      'DNS:localhost',
      'DNS:kubernetes',
      'DNS:kubernetes.default',
      'DNS:kubernetes.default.svc',
    ],
  },
  'apiserver-kubelet': { commonName: 'apiserver-kubelet', organizations: ['system:masters'] },
  admin: { commonName: 'admin', organizations: ['system:masters'] },
  'controller-manager': { commonName: 'system:kube-controller-manager' },
  scheduler: { commonName: 'system:kube-scheduler' },
  'kube-proxy': { commonName: 'system:kube-proxy' },
  coredns: { commonName: 'system:coredns' },
}

/** Makes all certificates and kubeconfigs once; when it was interrupted it begins again, since nothing can have used them yet. */
export async function createCredentials(nodes: readonly NodePlan[]): Promise<void> {
  const folder = pkiFolder()
  const done = join(folder, 'complete')
  if (existsSync(done)) return
  const authority = await createAuthority(folder)
  createTokenKey(folder)
  for (const [name, subject] of Object.entries(SUBJECTS)) await issueCertificate(authority, folder, name, subject)
  for (const node of nodes) {
    await issueCertificate(authority, folder, node.name, { commonName: `system:node:${node.name}`, organizations: ['system:nodes'] })
    const config = join(nodeFolder(node), 'config')
    mkdirSync(config, { recursive: true })
    writeFileSync(join(config, 'ca.crt'), readFileSync(authority.certFile))
    writeKubeconfig(join(config, 'kubelet.kubeconfig'), API_URL, node.name)
    writeKubeconfig(join(config, 'kube-proxy.kubeconfig'), API_URL, 'kube-proxy')
  }
  for (const name of ['controller-manager', 'scheduler', 'coredns']) writeKubeconfig(join(folder, `${name}.kubeconfig`), API_URL, name)
  writeKubeconfig(kubeconfigPath(), `https://127.0.0.1:${DOOR_PORT}`, 'admin')
  writeFileSync(done, '')
}

export function startEtcd(): void {
  const dataFolder = join(clusterFolder(), 'etcd')
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 })
  startUnlessRunning('etcd', etcdArguments({ dataFolder, clientPort: 2379, peerPort: 2380 }))
}

export function startApiServerProcess(): void {
  const policy = join(clusterFolder(), 'audit-policy.json')
  writeFileSync(policy, AUDIT_POLICY)
  mkdirSync(dirname(auditLogPath()), { recursive: true })
  const argv = apiServerArguments({
    etcdPort: 2379,
    bindAddress: '0.0.0.0',
    advertiseAddress: WORLD_ADDRESS,
    port: API_PORT,
    authority: pair('ca'),
    serving: pair('apiserver'),
    kubeletClient: pair('apiserver-kubelet'),
    tokenKey: { privateFile: join(pkiFolder(), 'tokens.key'), publicFile: join(pkiFolder(), 'tokens.pub') },
    auditPolicyFile: policy,
    auditLogFile: auditLogPath(),
  })
  startUnlessRunning(API_SERVER, argv)
}

/** The door: a plain TCP relay on loopback, so that an ordinary kubeconfig works outside the namespace. */
export function startDoor(): void {
  const inside = `nsenter --net=/run/netns/${WORLD} socat STDIO TCP\\:${WORLD_ADDRESS}\\:${API_PORT}`
  if (!isRunning('door')) startProcess('door', ['socat', `TCP-LISTEN:${DOOR_PORT},bind=127.0.0.1,fork,reuseaddr`, `EXEC:${inside}`])
}

export async function apiServerReady(signal?: AbortSignal): Promise<void> {
  await watchFor(
    'the API server to be ready',
    async () => {
      for (const name of ['etcd', API_SERVER, 'door']) {
        if (!isRunning(name))
          throw new Error(`${name} ended while the API server was starting: ${lastLines(readFileSync(logFile(name), 'utf8'), 8)}`)
      }
      return await kubectl(['get', '--raw', '/readyz', '--request-timeout=2s']).then(
        () => true,
        () => undefined,
      )
    },
    { withinMillis: 60_000, everyMillis: 200, signal },
    () => lastLines(readFileSync(logFile(API_SERVER), 'utf8'), 8),
  )
}

export function startControllers(): void {
  const kubeconfig = (name: string) => `--kubeconfig=${join(pkiFolder(), `${name}.kubeconfig`)}`
  const ca = pair('ca')
  startUnlessRunning('kube-controller-manager', [
    binary('kube-controller-manager'),
    kubeconfig('controller-manager'),
    '--bind-address=127.0.0.1',
    '--leader-elect=false',
    '--use-service-account-credentials',
    `--service-account-private-key-file=${join(pkiFolder(), 'tokens.key')}`,
    `--root-ca-file=${ca.certFile}`,
    `--cluster-signing-cert-file=${ca.certFile}`,
    `--cluster-signing-key-file=${ca.keyFile}`,
    '--node-monitor-period=2s',
    '--node-monitor-grace-period=20s',
  ])
  startUnlessRunning('kube-scheduler', [
    binary('kube-scheduler'),
    kubeconfig('scheduler'),
    '--bind-address=127.0.0.1',
    '--leader-elect=false',
  ])
}

export function startDns(): void {
  const file = join(clusterFolder(), 'Corefile')
  writeFileSync(`${file}.next`, COREFILE(join(pkiFolder(), 'coredns.kubeconfig')))
  renameSync(`${file}.next`, file)
  startUnlessRunning('coredns', [binary('coredns'), '-conf', file])
}

/**
 * Short times, because scenarios change what the internet answers. max_fails 0: the name server of the small internet may come later than we do, so it is
 * always asked; a failure is never kept.
 */
const COREFILE = (kubeconfig: string) => `.:${CLUSTER_DNS_PORT} {
  bind ${WORLD_ADDRESS}
  errors
  ready 127.0.0.1:10054
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig ${kubeconfig}
    pods insecure
    ttl 5
    fallthrough in-addr.arpa ip6.arpa
  }
  cache 5 {
    servfail 0s
  }
  forward . ${INTERNET_DNS_ADDRESS} {
    max_fails 0
  }
}
# An authoritative server can only delegate this zone; a resolver would ask on, and so do we.
silent.example:${CLUSTER_DNS_PORT} {
  bind ${WORLD_ADDRESS}
  errors
  forward . ${SILENT_DNS_ADDRESS} {
    max_fails 0
  }
}
`

/** kubectl as administrator. */
export async function kubectl(argv: readonly string[], input?: string): Promise<string> {
  return await runCommand([binary('kubectl'), '--kubeconfig', kubeconfigPath(), ...argv], input === undefined ? {} : { input })
}

function startUnlessRunning(name: string, argv: readonly string[]): void {
  if (!isRunning(name)) startProcess(name, argv, WORLD)
}

function writeKubeconfig(file: string, server: string, user: string): void {
  writeFileSync(file, formatKubeconfig(server, pair('ca'), pair(user)), { mode: 0o600 })
}

function pair(name: string): { certFile: string; keyFile: string } {
  return { certFile: join(pkiFolder(), `${name}.crt`), keyFile: join(pkiFolder(), `${name}.key`) }
}
