import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runCommand } from '#test/support/command.ts'
import { waitFor } from '#test/support/wait.ts'
import { emptyDisk, failDisk, fillDisk, findLoops } from './disks.ts'

/** A disk as nodes have them; mounting it needs root. */
async function openDisk() {
  const folder = mkdtempSync(join(tmpdir(), 'disk-'))
  const [file, path] = [join(folder, '1.img'), join(folder, 'mount')]
  mkdirSync(path)
  const mount = () => runCommand(['mount', '-o', 'loop,noatime', file, path])
  await runCommand(['truncate', '--size=32M', file])
  await runCommand(['mkfs.ext4', '-q', '-F', '-m', '0', file])
  await mount()
  return {
    file,
    path,
    remount: async () => {
      await runCommand(['umount', path])
      // The kernel lets go of the loop device a moment later, and refuses a second one for the file until then.
      await waitFor('the loop device to be gone', async () => (await findLoops(folder)).length === 0, {
        withinMillis: 30_000,
        everyMillis: 20,
      })
      await mount()
    },
    [Symbol.asyncDispose]: async () => {
      await runCommand(['umount', path])
      rmSync(folder, { recursive: true })
    },
  }
}

function writeDurably(path: string, bytes: Buffer): void {
  const file = openSync(path, 'w')
  try {
    writeSync(file, bytes)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

test('a disk that fails answers with EIO, and is whole again when it is mounted anew', async () => {
  await using disk = await openDisk()
  const kept = join(disk.path, 'kept')
  writeDurably(kept, Buffer.from('before'))
  await failDisk(disk.file)
  expect(() => writeDurably(join(disk.path, 'lost'), Buffer.alloc(1_000_000, 1))).toThrow('EIO')
  await disk.remount()
  expect(readFileSync(kept, 'utf8')).toBe('before')
  writeDurably(join(disk.path, 'after'), Buffer.alloc(1_000_000, 1))
})

test('a disk that is not mounted cannot fail', async () => {
  await expect(failDisk('/no/such/disk.img')).rejects.toThrow('must be mounted')
})

test('a disk that is filled has no room for a block, and has it again when it is emptied', async () => {
  await using disk = await openDisk()
  await fillDisk(disk.path)
  const write = () => writeFileSync(join(disk.path, 'one'), Buffer.alloc(4096, 1))
  expect(write).toThrow('ENOSPC')
  await emptyDisk(disk.path)
  write()
})
