/** The nodes' disks: each its own ext4 file system in a sparse file, so that a full or failing disk can be staged without harm to the machine's own. */
import { existsSync, mkdirSync, renameSync, rmSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { NodePlan } from './plan.ts'
import { CommandFailed, runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { diskFile } from './state.ts'

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

/**
 * From now on the mounted disk in this file answers every read and write that reaches it with EIO; what the kernel has in its memory is still read.
 * Mounted anew, as after a restart of its machine, it is whole again and has what was written before.
 */
export async function failDisk(file: string): Promise<void> {
  const loop = await findLoop(file)
  if (loop === undefined) throw new Error(`${file} must be mounted to fail, is not`)
  await runCommand(['perl', '-e', SHRINK, loop])
}

/** By its inode: a node sees the file by another path, and that one is what a list would show. */
async function findLoop(file: string): Promise<string | undefined> {
  const found = await runCommand(['losetup', '--associated', file, '--noheadings', '--output', 'NAME'])
  return found.trim() === '' ? undefined : found.trim()
}

/** LOOP_GET_STATUS64, LOOP_SET_STATUS64 with a size limit of one page: the block layer refuses all that is beyond it. losetup cannot do it to a device that is in use. */
const SHRINK = `open my $loop, '+<', $ARGV[0] or die "open: $!";
my $info = chr(0) x 232;
ioctl($loop, 0x4C05, $info) or die "LOOP_GET_STATUS64: $!";
substr($info, 32, 8) = pack('Q', 4096);
ioctl($loop, 0x4C04, $info) or die "LOOP_SET_STATUS64: $!";`

const FILLER = 'filler'

/** Takes what is left of a mounted disk, to the last block, by a file of somebody else. */
export async function fillDisk(path: string): Promise<void> {
  const file = join(path, FILLER)
  const { bavail, bsize } = statfsSync(path)
  let [offset, size] = [0, bavail * bsize]
  while (size >= bsize) {
    if (await allocate(file, offset, size)) offset += size
    else size = Math.floor(size / 2 / bsize) * bsize
  }
}

/** False when there is no room for so much; what was allocated of it stays. */
async function allocate(file: string, offset: number, length: number): Promise<boolean> {
  try {
    await runCommand(['fallocate', '--offset', String(offset), '--length', String(length), file])
    return true
  } catch (error) {
    if (error instanceof CommandFailed && error.stderr.includes('No space left')) return false
    throw error
  }
}

/** Durably: a disk that fails a moment later does not have its filler back. */
export async function emptyDisk(path: string): Promise<void> {
  rmSync(join(path, FILLER), { force: true })
  await runCommand(['sync', '--file-system', path])
}

/** The kernel unmounts a dead node's disks a moment after its last process is gone; until then they must not be mounted again. */
export async function disksReleased(node: NodePlan, signal?: AbortSignal): Promise<void> {
  const files = node.disks.map((disk) => diskFile(node, disk)).filter((file) => existsSync(file))
  const released = async () => ((await Promise.all(files.map(findLoop))).some((loop) => loop !== undefined) ? undefined : true)
  await watchFor(`the disks of ${node.name} to be released`, released, { withinMillis: 30_000, signal })
}
