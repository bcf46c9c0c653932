/** A node as a machine: it can be switched on, lose its power, and be looked into. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { binary } from './binaries.ts'
import { cgroupProcesses, createCgroups, removeCgroups } from './cgroups.ts'
import { createDisks, disksReleased } from './disks.ts'
import { cgroupName, nodeConfigFiles } from './node-config.ts'
import type { DiskPlan, NodePlan, Slot } from './plan.ts'
import { findInit, findProcesses, killProcesses, processesIn, startProcess } from './processes.ts'
import { type CommandOptions, runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { logFile, nodeFolder } from './state.ts'
import { closeNamespace, connectNode, disconnectNode, namespaceExists } from './world.ts'

export function isPoweredOn(node: NodePlan): boolean {
  return findInit(node.name) !== undefined
}

/** Writes the node's files and disks where they are missing, connects it and boots it. Does nothing when it is on. Resolves when it has an init process, long before it is Ready. */
export async function startNode(node: NodePlan, signal?: AbortSignal): Promise<void> {
  if (isPoweredOn(node)) return
  // What an interrupted start or a crash has left goes first.
  await stopNode(node, signal)
  const folder = nodeFolder(node)
  for (const name of ['var-lib', 'var-log', 'config', 'disks']) mkdirSync(join(folder, name), { recursive: true })
  for (const [name, content] of Object.entries(nodeConfigFiles(node))) {
    const file = join(folder, 'config', name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  await createDisks(node)
  createCgroups(cgroupName(node))
  await connectNode(node)
  const init = [join(import.meta.dirname, 'node-init.sh'), node.name, folder, dirname(binary('kubelet'))]
  startProcess(node.name, [...ISOLATE, ...init], node.namespace)
  await watchFor(
    `${node.name} to boot`,
    () => findInit(node.name),
    { withinMillis: 10_000, everyMillis: 50, signal },
    () => `see ${logFile(node.name)}`,
  )
}

const ISOLATE = ['unshare', '--mount', '--pid', '--uts', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private', '--']

/**
 * Pulls the power plug: the cable first, so that no dying process can still say goodbye to its peers, then every process in the same instant. Its disks stay.
 * Harmless on a node that is off or half made.
 */
export async function stopNode(node: NodePlan, signal?: AbortSignal): Promise<void> {
  await disconnectNode(node)
  const init = findInit(node.name)
  if (init !== undefined) process.kill(init, 'SIGKILL')
  await killProcesses(`the processes of ${node.name}`, async () => [
    ...new Set([
      ...findProcesses(node.name),
      ...(namespaceExists(node.namespace) ? await processesIn([node.namespace]) : []),
      ...cgroupProcesses(cgroupName(node)),
    ]),
  ])
  await closeNamespace(node.namespace)
  removeCgroups(cgroupName(node))
  await disksReleased(node, signal)
}

/** Runs a command inside the node, as a person logged in there would. */
export async function execInNode(node: NodePlan, argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  return await runCommand(['nsenter', '--target', String(initOf(node)), '--mount', '--pid', '--uts', '--net', '--', ...argv], options)
}

/** Where a mounted disk of a running node can be read and written from outside. */
export function diskPath(node: NodePlan, slot: Slot): string {
  return `/proc/${initOf(node)}/root${findDisk(node, slot).mountPoint}`
}

export function findDisk(node: NodePlan, slot: Slot): DiskPlan {
  const disk = node.disks.find((candidate) => candidate.slot === slot)
  if (!disk)
    throw new RangeError(`slot must be one of ${node.disks.map(({ slot: known }) => known).join(', ')}, was ${JSON.stringify(slot)}`)
  return disk
}

/** Brings an image into the node's containerd. */
export async function importImage(node: NodePlan, tar: string, signal?: AbortSignal): Promise<void> {
  // The archive is given by its inode, through our own view of the file system: the node may not see its path.
  await runCommand(
    [
      'sh',
      '-c',
      'exec nsenter --target "$1" --mount --pid --uts --net -- ctr --namespace k8s.io images import - < "$2"',
      'sh',
      String(initOf(node)),
      tar,
    ],
    { signal },
  )
}

function initOf(node: NodePlan): number {
  const init = findInit(node.name)
  if (init === undefined) throw new Error(`${node.name} is off`)
  return init
}
