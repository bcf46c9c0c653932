/** The nodes' disks: each its own ext4 file system in a sparse file, so that a full or failing disk can be staged without harm to the machine's own. */
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import type { NodePlan } from './plan.ts'
import { runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { diskFile, nodeFolder } from './state.ts'

/** Makes what is missing; a disk that exists is never touched. */
export async function createDisks(node: NodePlan): Promise<void> {
  for (const disk of node.disks) {
    const file = diskFile(node, disk)
    if (existsSync(file)) continue
    mkdirSync(dirname(file), { recursive: true })
    const unfinished = `${file}.tmp`
    await runCommand(['truncate', `--size=${disk.mebibytes}M`, unfinished])
    // No blocks kept for root: the size that is promised is the size that can be written.
    await runCommand(['mkfs.ext4', '-q', '-F', '-m', '0', unfinished])
    renameSync(unfinished, file)
  }
}

/** Loop devices whose file is in `folder`. */
export async function findLoops(folder: string): Promise<string[]> {
  const output = await runCommand(['losetup', '--list', '--json', '--output', 'NAME,BACK-FILE'])
  if (output.trim() === '') return []
  const { loopdevices } = JSON.parse(output) as { loopdevices: { name: string; 'back-file': string }[] }
  return loopdevices.filter((loop) => loop['back-file'].startsWith(`${folder}/`)).map(({ name }) => name)
}

/** The kernel unmounts a dead node's disks a moment after its last process is gone; until then they must not be mounted again. */
export async function disksReleased(node: NodePlan, signal?: AbortSignal): Promise<void> {
  const released = async () => ((await findLoops(nodeFolder(node))).length === 0 ? true : undefined)
  await watchFor(`the disks of ${node.name} to be released`, released, { withinMillis: 30_000, signal })
}
