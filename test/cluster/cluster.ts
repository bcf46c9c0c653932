/**
 * The local cluster and the faults that can be made in it: what the command line and the scenarios call.
 * `clusterUp` completes whatever is there; `clusterDown` removes all of it, also what a crash has left, and fails rather than leave something unsaid.
 */
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ensureBinaries } from './binaries.ts'
import { findCgroups } from './cgroups.ts'
import { emptyDisk, failDisk, fillDisk, findLoops } from './disks.ts'
import { cgroupName } from './node-config.ts'
import { NODE_LABEL, SLOT_LABEL, clusterObjects } from './objects.ts'
import { giveImage, readArchive } from './images.ts'
import { writePauseImage } from './pause-image.ts'
import { type ClusterSize, type NodePlan, type Slot, WORLD, parseNode, parseSize, planNode, planNodes } from './plan.ts'
import { findProcesses, inNamespace, isRunning, killProcesses, processesIn, sendSignal } from './processes.ts'
import { diskPath, execInNode, findDisk, isPoweredOn, startNode, stopNode } from './nodes.ts'
import { type CommandOptions, runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { clusterFolder, diskFile, findSize, nodeFolder, readSize, writeSize } from './state.ts'
import {
  API_SERVER,
  apiServerReady,
  createCredentials,
  kubectl,
  startApiServerProcess,
  startControllers,
  startDns,
  startDoor,
  startEtcd,
} from './world-processes.ts'
import { cutApi, cutLink, healApi, healLink } from './cuts.ts'
import { closeNamespace, namespaceExists, openWorld, setCable } from './world.ts'

export { auditLogPath, clusterFolder, kubeconfigPath } from './state.ts'
export { WORLD, type ClusterSize, type Slot } from './plan.ts'

export type NodeName = string | number
export type UpOptions = Partial<ClusterSize> & {
  readonly onProgress?: (line: string) => void
  readonly signal?: AbortSignal
}

/** Brings the cluster up, or completes it, and resolves when every node is Ready. Throws when a cluster of another size exists. */
export async function clusterUp(options: UpOptions = {}): Promise<void> {
  const { onProgress: say = (line) => process.stderr.write(`${line}\n`), signal } = options
  await checkPrivileges()
  await using _lock = await lockCluster()
  const size = chooseSize(options)
  const nodes = planNodes(size)
  await runCommand([join(import.meta.dirname, '../../scripts/install-packages')], { onLine: say, signal, timeoutMillis: 1_800_000 })
  await ensureBinaries(undefined, say)
  writeSize(size)

  say('starting the control plane …')
  await openWorld(nodes)
  await createCredentials(nodes)
  startEtcd()
  startApiServerProcess()
  startDoor()
  await apiServerReady(signal)
  startControllers()
  await applyObjects(nodes)
  startDns()

  say(`starting ${nodes.length} nodes …`)
  await preparePauseImage(nodes)
  await Promise.all(nodes.map((node) => startNode(node, signal)))
  await Promise.all(nodes.map((node) => nodeReady(node, undefined, signal)))
  say(`the cluster is up: ${nodes.map(({ name }) => name).join(', ')}`)
}

/** Removes the cluster: processes, mounts, namespaces, control groups, loop devices, files. Harmless when there is none. */
export async function clusterDown(onProgress: (line: string) => void = (line) => process.stderr.write(`${line}\n`)): Promise<void> {
  await checkPrivileges()
  await using _lock = await lockCluster()
  const folder = clusterFolder()
  const ours = findSize() !== undefined
  // More nodes than there can be: leftovers are found by name, whatever size the cluster had.
  const nodes = planNodes({ nodes: 9, volumesPerNode: 1, volumeMebibytes: 16 })
  onProgress('switching the nodes off …')
  await Promise.all(nodes.map((node) => stopNode(node)))
  onProgress('stopping the control plane …')
  await killProcesses('the processes of the cluster', async () => [
    ...findProcesses(),
    ...(namespaceExists(WORLD) ? await processesIn([WORLD]) : []),
  ])
  await closeNamespace(WORLD)
  await watchFor('the loop devices to be released', async () => ((await findLoops(folder)).length === 0 ? true : undefined), {
    withinMillis: 30_000,
  })
  if (ours) rmSync(folder, { recursive: true, force: true })
  onProgress('the cluster is down')
}

/** Power cut: the node's processes, mounts and network are gone in an instant; its disks stay. */
export async function powerOff(node: NodeName): Promise<void> {
  await stopNode(parseNode(node, readSize()))
}

/** Boots the node again and resolves when it is Ready (or, `until: 'booted'`, when it has begun to boot). */
export async function powerOn(
  node: NodeName,
  options: { readonly until?: 'ready' | 'booted'; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const plan = parseNode(node, readSize())
  if (isPoweredOn(plan)) return
  const since = Date.now()
  await startNode(plan, options.signal)
  if (options.until !== 'booted') await nodeReady(plan, since, options.signal)
}

/** Pulls the network cable; the node runs on without any network. */
export async function cut(node: NodeName): Promise<void> {
  await setCable(poweredOn(node), 'down')
}

export async function heal(node: NodeName): Promise<void> {
  await setCable(poweredOn(node), 'up')
}

/** Drops what goes between the node and the API server, silently; mail, DNS and other nodes stay reachable. */
export async function cutFromApi(node: NodeName): Promise<void> {
  await cutApi(poweredOn(node))
}

export async function healFromApi(node: NodeName): Promise<void> {
  await healApi(poweredOn(node))
}

/** Drops what goes between two nodes, their Pods included, both ways and silently; both reach everything else. */
export async function cutBetween(node: NodeName, other: NodeName): Promise<void> {
  await cutLink(...twoNodes(node, other))
}

export async function healBetween(node: NodeName, other: NodeName): Promise<void> {
  await healLink(...twoNodes(node, other))
}

/** Kills kube-apiserver: connections break and its port refuses. etcd stays. */
export async function stopApiServer(): Promise<void> {
  readSize()
  await killProcesses(API_SERVER, () => findProcesses(API_SERVER))
}

export async function startApiServer(signal?: AbortSignal): Promise<void> {
  readSize()
  startApiServerProcess()
  await apiServerReady(signal)
}

/** Connections to the API server stay open and nothing answers. */
export function freezeApiServer(): void {
  signalApiServer('SIGSTOP')
}

export function thawApiServer(): void {
  signalApiServer('SIGCONT')
}

/** Brings an image (a tar archive as `docker save` writes it) to every node that does not have it. Throws when a node is off, since it could not be given the image. */
export async function loadImage(tar: string, signal?: AbortSignal): Promise<void> {
  const nodes = planNodes(readSize())
  const off = nodes.filter((node) => !isPoweredOn(node))
  if (off.length > 0) throw new Error(`every node must be on to be given an image; off: ${off.map(({ name }) => name).join(', ')}`)
  const archive = await readArchive(tar, signal)
  await Promise.all(nodes.map((node) => giveImage(node, archive, signal)))
}

/** Runs a command in a node and returns its output. */
export async function nodeExec(node: NodeName, argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  return await execInNode(parseNode(node, readSize()), argv, options)
}

/** Runs a command in the network of the world, where the control plane and the small internet are. */
export async function worldExec(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  readSize()
  return await runCommand([...inNamespace(WORLD), ...argv], options)
}

/** The mounted disk of a running node, as a path on this machine. The volume of a PersistentVolume has its slot in the label mtafleet.test/slot. */
export function volumePath(node: NodeName, slot: Slot): string {
  return diskPath(parseNode(node, readSize()), slot)
}

/** The file behind a disk. It is there with the node off, too. */
export function volumeFile(node: NodeName, slot: Slot): string {
  const plan = parseNode(node, readSize())
  return diskFile(plan, findDisk(plan, slot))
}

/** Reads and writes of the disk fail until the node is switched off and on. */
export async function failVolume(node: NodeName, slot: Slot): Promise<void> {
  await failDisk(volumeFile(poweredOn(node).name, slot))
}

/** To the last block, by a file that is not ours. */
export async function fillVolume(node: NodeName, slot: Slot): Promise<void> {
  await fillDisk(volumePath(node, slot))
}

export async function emptyVolume(node: NodeName, slot: Slot): Promise<void> {
  await emptyDisk(volumePath(node, slot))
}

type PersistentVolume = { metadata: { name: string; labels?: Record<string, string> }; status?: { phase?: string } }
export type Recycled = {
  readonly recycled: readonly string[]
  readonly waiting: readonly { readonly volume: string; readonly because: 'NodeOff' }[]
}

/** Wipes Released volumes and makes them Available, as a provisioner of local volumes would. Those of a node that is off wait. */
export async function recycle(): Promise<Recycled> {
  const size = readSize()
  const { items } = JSON.parse(await kubectl(['get', 'persistentvolumes', '-l', NODE_LABEL, '-o', 'json'])) as { items: PersistentVolume[] }
  const released = items.filter(({ status }) => status?.phase === 'Released')
  const recycled: string[] = []
  const waiting: { volume: string; because: 'NodeOff' }[] = []
  for (const { metadata } of released) {
    const node = parseNode(metadata.labels?.[NODE_LABEL] ?? '', size)
    const disk = node.disks.find(({ slot }) => String(slot) === metadata.labels?.[SLOT_LABEL])
    if (!disk) throw new Error(`volume ${metadata.name} must have one of ${node.name}'s slots in its label ${SLOT_LABEL}`)
    if (!isPoweredOn(node)) {
      waiting.push({ volume: metadata.name, because: 'NodeOff' })
      continue
    }
    await execInNode(node, [
      'find',
      disk.mountPoint,
      '-mindepth',
      '1',
      '-maxdepth',
      '1',
      '!',
      '-name',
      'lost+found',
      '-exec',
      'rm',
      '-rf',
      '{}',
      '+',
    ])
    await kubectl(['patch', 'persistentvolume', metadata.name, '--type=merge', '-p', '{"spec":{"claimRef":null}}'])
    await kubectl(['wait', '--for=jsonpath={.status.phase}=Available', 'persistentvolume', metadata.name, '--timeout=30s'])
    recycled.push(metadata.name)
  }
  return { recycled, waiting }
}

export type ClusterStatus = {
  readonly folder: string
  readonly size: ClusterSize | undefined
  readonly processes: Readonly<Record<string, 'running' | 'stopped'>>
  readonly nodes: Readonly<Record<string, 'on' | 'off'>>
  /** What there is although there is no cluster: names of namespaces, control groups, loop devices, process ids. */
  readonly leftovers: readonly string[]
}

export async function clusterStatus(): Promise<ClusterStatus> {
  const size = findSize()
  const nodes = size ? planNodes(size) : []
  return {
    folder: clusterFolder(),
    size,
    processes: Object.fromEntries(
      ['etcd', API_SERVER, 'kube-controller-manager', 'kube-scheduler', 'coredns', 'door'].map((name) => [
        name,
        isRunning(name) ? 'running' : 'stopped',
      ]),
    ),
    nodes: Object.fromEntries(nodes.map((node) => [node.name, isPoweredOn(node) ? 'on' : 'off'])),
    leftovers: size ? [] : await findLeftovers(),
  }
}

async function findLeftovers(): Promise<string[]> {
  const nodes = Array.from({ length: 9 }, (_, index) => planNode(index + 1, parseSize({})))
  return [
    ...[WORLD, ...nodes.map(({ namespace }) => namespace)].filter(namespaceExists),
    ...nodes.flatMap((node) => findCgroups(cgroupName(node))),
    ...(await findLoops(clusterFolder())),
    ...findProcesses().map((pid) => `process ${pid}`),
  ]
}

function chooseSize(options: UpOptions): ClusterSize {
  const { nodes, volumesPerNode, volumeMebibytes } = options
  const given = Object.fromEntries(Object.entries({ nodes, volumesPerNode, volumeMebibytes }).filter(([, value]) => value !== undefined))
  const existing = findSize()
  const wanted = parseSize({ ...existing, ...given })
  if (existing && JSON.stringify(existing) !== JSON.stringify(wanted)) {
    throw new Error(
      `a cluster of another size exists (${JSON.stringify(existing)}, wanted ${JSON.stringify(wanted)}): npm run cluster -- down`,
    )
  }
  return wanted
}

async function preparePauseImage(nodes: readonly NodePlan[]): Promise<void> {
  const image = join(clusterFolder(), 'pause.tar')
  if (!existsSync(image)) await writePauseImage(image, clusterFolder())
  for (const node of nodes) {
    const config = join(nodeFolder(node), 'config')
    mkdirSync(config, { recursive: true })
    copyFileSync(image, join(config, 'pause.tar'))
  }
}

/** RBAC's own roles are made in the API server's first seconds; kubectl applies what it is given in order. */
async function applyObjects(nodes: readonly NodePlan[]): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: clusterObjects(nodes) }
  await watchFor(
    'the namespace kube-system',
    async () => ((await kubectl(['get', 'namespace', 'kube-system', '--ignore-not-found', '-o', 'name'])) === '' ? undefined : true),
    { withinMillis: 20_000 },
  )
  await kubectl(['apply', '--server-side', '--field-manager=mtafleet-cluster', '-f', '-'], JSON.stringify(list))
}

type NodeCondition = { type: string; status: string; lastHeartbeatTime: string; message: string }

/** Ready as reported after `since`: a node just switched on is still called Ready from before for a while. */
async function nodeReady(node: NodePlan, since: number | undefined, signal?: AbortSignal): Promise<void> {
  let last: NodeCondition | undefined
  await watchFor(
    `${node.name} to be Ready`,
    async () => {
      const text = await kubectl(['get', 'node', node.name, '--ignore-not-found', '-o', 'json'])
      if (text === '') return undefined
      const { status } = JSON.parse(text) as { status: { conditions?: NodeCondition[] } }
      last = status.conditions?.find(({ type }) => type === 'Ready')
      // Heartbeats have whole seconds.
      return last?.status === 'True' && (since === undefined || Date.parse(last.lastHeartbeatTime) >= since - 1000) ? true : undefined
    },
    { withinMillis: 120_000, everyMillis: 500, signal },
    () => `${last?.message ?? 'it did not register'}; see ${nodeFolder(node)}/var-log`,
  )
}

function poweredOn(node: NodeName): NodePlan {
  const plan = parseNode(node, readSize())
  if (!isPoweredOn(plan)) throw new Error(`${plan.name} is off`)
  return plan
}

function twoNodes(node: NodeName, other: NodeName): [NodePlan, NodePlan] {
  const plans: [NodePlan, NodePlan] = [poweredOn(node), poweredOn(other)]
  if (plans[0].name === plans[1].name) throw new RangeError(`two nodes must be named, were both ${plans[0].name}`)
  return plans
}

function signalApiServer(signal: NodeJS.Signals): void {
  const pids = findProcesses(API_SERVER)
  if (pids.length === 0) throw new Error('the API server is stopped')
  for (const pid of pids) sendSignal(pid, signal)
}

async function checkPrivileges(): Promise<void> {
  if (process.platform !== 'linux') throw new Error('the local cluster needs Linux; elsewhere use kind (docs/kind.md)')
  if (process.getuid?.() !== 0)
    throw new Error(
      'the local cluster needs root: it makes network namespaces, mounts and control groups (docs/kind.md says how to do without)',
    )
  await runCommand(['unshare', '--net', '--mount', '--pid', '--fork', 'true']).catch((error: unknown) => {
    throw new Error(
      'the local cluster needs the right to make namespaces and mounts (CAP_SYS_ADMIN, CAP_NET_ADMIN); this machine refuses them',
      { cause: error },
    )
  })
}

/** One `up` or `down` at a time. The lock is a socket name that the kernel frees when we end, however we end. */
async function lockCluster(): Promise<AsyncDisposable> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new Error('another `npm run cluster -- up` or `down` is at work', { cause: error }) : error),
    )
    server.listen('\0mtafleet-cluster', resolve)
  })
  return { [Symbol.asyncDispose]: async () => await new Promise<void>((resolve) => server.close(() => resolve())) }
}
