/**
 * Where the cluster keeps its files, and the file that makes a folder ours. A folder without that file is never written to unless empty, and never removed.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { type ClusterSize, type DiskPlan, type NodePlan, parseSize } from './plan.ts'

export function clusterFolder(): string {
  const folder = process.env['MTAFLEET_CLUSTER_DIR'] || '/var/lib/mtafleet-cluster'
  // A node covers /mnt, /run and /proc with its own.
  if (!isAbsolute(folder) || /^\/(mnt|run|proc|sys|dev)(\/|$)/.test(folder) || folder === '/') {
    throw new Error(`MTAFLEET_CLUSTER_DIR must be an absolute path outside /mnt, /run, /proc, /sys and /dev, was ${JSON.stringify(folder)}`)
  }
  return folder
}

/** A kubeconfig of an administrator that works on this machine, outside the cluster's namespaces. */
export function kubeconfigPath(): string {
  return join(clusterFolder(), 'admin.kubeconfig')
}

/** One JSON audit event a line: every write, list and watch; single reads are left out. */
export function auditLogPath(): string {
  return join(clusterFolder(), 'audit/audit.log')
}

export function pkiFolder(): string {
  return join(clusterFolder(), 'pki')
}

export function logFile(name: string): string {
  return join(clusterFolder(), 'log', `${name}.log`)
}

export function nodeFolder(node: NodePlan): string {
  return join(clusterFolder(), 'nodes', node.name)
}

/** The file behind a node's disk. Shortening it makes reads fail; it stays when the node loses power. */
export function diskFile(node: NodePlan, disk: DiskPlan): string {
  return join(nodeFolder(node), 'disks', `${disk.slot}.img`)
}

/** The size the cluster was made with; throws when there is no cluster. */
export function readSize(): ClusterSize {
  const size = findSize()
  if (!size) throw new Error(`there is no cluster in ${clusterFolder()}: npm run cluster -- up`)
  return size
}

export function findSize(): ClusterSize | undefined {
  if (!existsSync(sizeFile())) return undefined
  return parseSize(JSON.parse(readFileSync(sizeFile(), 'utf8')) as Partial<ClusterSize>)
}

export function writeSize(size: ClusterSize): void {
  const folder = clusterFolder()
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  if (!existsSync(sizeFile()) && readdirSync(folder).length > 0)
    throw new Error(`${folder} must be empty or a cluster's folder; it holds something else`)
  writeFileSync(`${sizeFile()}.next`, `${JSON.stringify(size)}\n`)
  renameSync(`${sizeFile()}.next`, sizeFile())
}

function sizeFile(): string {
  return join(clusterFolder(), 'cluster.json')
}
