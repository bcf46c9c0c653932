/** The control groups below which a node's containers run: one root a node and hierarchy, made before the kubelet wants it, removed when the node is off. */
import { type Dirent, existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const MOUNT = '/sys/fs/cgroup'

export function createCgroups(name: string): void {
  const unified = existsSync(join(MOUNT, 'cgroup.controllers'))
  if (unified) writeFileSync(join(MOUNT, 'cgroup.subtree_control'), controllersOf(MOUNT))
  for (const root of hierarchies()) mkdirSync(join(root, name), { recursive: true })
  if (unified) writeFileSync(join(MOUNT, name, 'cgroup.subtree_control'), controllersOf(join(MOUNT, name)))
  // Version 1: a new cpuset is empty, and nothing can run in it.
  const cpuset = join(MOUNT, 'cpuset')
  if (unified || !existsSync(cpuset)) return
  for (const file of ['cpuset.cpus', 'cpuset.mems']) writeFileSync(join(cpuset, name, file), readFileSync(join(cpuset, file)))
}

/** Their processes must have ended. */
export function removeCgroups(name: string): void {
  for (const group of findCgroups(name)) removeTree(group)
}

/** Paths of the control groups with exactly this name. */
export function findCgroups(name: string): string[] {
  return hierarchies()
    .map((root) => join(root, name))
    .filter((group) => existsSync(group))
}

export function cgroupProcesses(name: string): number[] {
  return findCgroups(name)
    .flatMap((group) => treeOf(group))
    .flatMap((group) => readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number))
}

/** Version 2 has one hierarchy, version 1 one for each controller. */
function hierarchies(): string[] {
  if (existsSync(join(MOUNT, 'cgroup.controllers'))) return [MOUNT]
  return folders(MOUNT).map(({ name }) => join(MOUNT, name))
}

function controllersOf(group: string): string {
  return readFileSync(join(group, 'cgroup.controllers'), 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map((controller) => `+${controller}`)
    .join(' ')
}

function removeTree(group: string): void {
  for (const inner of treeOf(group).toReversed()) rmdirSync(inner)
}

function treeOf(group: string): string[] {
  return [group, ...folders(group).flatMap(({ name }) => treeOf(join(group, name)))]
}

/** Links are skipped: version 1 has cpu → cpu,cpuacct. */
function folders(parent: string): Dirent[] {
  return readdirSync(parent, { withFileTypes: true }).filter((entry) => entry.isDirectory())
}
