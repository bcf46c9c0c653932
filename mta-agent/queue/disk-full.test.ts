import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { delivered, message, NOON, openQueue, temporaryDirectory } from '#test/builders/queue.ts'
import type { LogQueueStore } from './log-queue.ts'
import { QueueFull } from './queue-store.ts'

/** These fill real file systems of 48 MiB to the last block; mounting them needs root. */
const MIB = 2 ** 20
const VOLUME_BYTES = 48 * MIB

type Volume = Disposable & { readonly path: string }

function mountTmpfs(): Volume {
  return mounted((path) => execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${VOLUME_BYTES}`, 'tmpfs', path]))
}

function mountExt4(): Volume {
  return mounted((path, directory) => {
    const image = join(directory, 'image')
    const file = openSync(image, 'w')
    ftruncateSync(file, VOLUME_BYTES)
    closeSync(file)
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image])
    execFileSync('mount', ['-o', 'loop', image, path])
  })
}

function mounted(mount: (path: string, directory: string) => void): Volume {
  const directory = temporaryDirectory()
  const path = join(directory.path, 'mount')
  mkdirSync(path)
  try {
    mount(path, directory.path)
  } catch (error) {
    directory[Symbol.dispose]()
    throw error
  }
  return {
    path,
    [Symbol.dispose]: () => {
      execFileSync('umount', [path])
      directory[Symbol.dispose]()
    },
  }
}

/** Somebody else's file, which takes what is left of the disk. */
function fillDisk(volume: Volume): Disposable {
  const path = join(volume.path, 'filler')
  const file = openSync(path, 'w')
  let size = MIB
  while (size >= 512) {
    try {
      if (writeSync(file, Buffer.alloc(size, 1)) < size) size /= 2
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      size /= 2
    }
  }
  closeSync(file)
  return { [Symbol.dispose]: () => rmSync(path) }
}

async function appendUntilFull(queue: LogQueueStore, sizeBytes: number): Promise<number> {
  for (let count = 0; ; count++) {
    try {
      await queue.append(message(undefined, { content: Buffer.alloc(sizeBytes, count) }))
    } catch (error) {
      if (error instanceof QueueFull) return count
      throw error
    }
  }
}

async function deliverAll(queue: LogQueueStore): Promise<number> {
  let count = 0
  for (;;) {
    const deliveries = queue.takeDue(NOON, 20)
    if (deliveries.length === 0) return count
    for (const delivery of deliveries) expect(queue.readContent(delivery.queueId)).toHaveLength(delivery.sizeBytes)
    await Promise.all(deliveries.map((delivery) => queue.settle({ ...delivery, at: NOON, outcomes: [{ index: 0, outcome: delivered }] })))
    count += deliveries.length
  }
}

const volumes = [
  { name: 'tmpfs', mount: mountTmpfs },
  { name: 'ext4', mount: mountExt4 },
]

test.each(volumes)(
  '$name: a queue that filled its disk says so, empties, and takes as much again',
  { timeout: 30_000 },
  async ({ mount }) => {
    using volume = mount()
    const directory = join(volume.path, 'queue')
    await using queue = await openQueue(directory, { reserveBytes: 8 * MIB })

    const first = await appendUntilFull(queue, 100_000)
    expect(first).toBeGreaterThan(200)
    expect(queue.room(100_000)).toBe('full')
    expect(await deliverAll(queue)).toBe(first)
    expect(queue.totals()).toEqual({ messages: 0, recipients: 0, deferred: 0, contentBytes: 0 })
    expect(queue.room(100_000)).toBe('room')

    const second = await appendUntilFull(queue, 100_000)
    expect(second / first).toBeGreaterThan(0.7)
    expect(await deliverAll(queue)).toBe(second)
  },
)

test.each(volumes)(
  '$name: a disk that somebody else fills costs nothing, and the queue goes on when there is room',
  { timeout: 30_000 },
  async ({ mount }) => {
    using volume = mount()
    const directory = join(volume.path, 'queue')
    // Never full by its own judgement, so that the write itself meets the end of the disk.
    const before = await openQueue(directory, { reserveBytes: -VOLUME_BYTES })
    await Promise.all(Array.from({ length: 20 }, () => before.append(message(undefined, { content: Buffer.alloc(50_000, 7) }))))
    const deliveries = before.takeDue(NOON, 10)
    const filler = fillDisk(volume)

    await expect(before.append(message(undefined, { content: Buffer.alloc(10 * MIB) }))).rejects.toThrow(QueueFull)
    const settled = Promise.all(
      deliveries.map((delivery, nth) =>
        // One of them needs more than the free pages of the file.
        before.settle(
          { ...delivery, at: NOON, outcomes: [{ index: 0, outcome: delivered }] },
          nth === 5 ? message(undefined, { content: Buffer.alloc(10 * MIB) }) : undefined,
        ),
      ),
    )
    await vi.waitFor(() => expect(before.room(1)).toBe('full'))
    await expect(before.append(message())).rejects.toThrow(QueueFull)
    expect(before.takeDue(NOON, 10)).toEqual([])
    expect(before.lastSequence()).toBe(20)
    filler[Symbol.dispose]()
    await settled

    expect(before.totals().messages).toBe(11)
    expect(await before.append(message())).toBe('1-31')
    await before[Symbol.asyncDispose]()
    await using after = await openQueue(directory)
    expect(after.lastSequence()).toBe(31)
    expect(await deliverAll(after)).toBe(12)
  },
)

test.each(volumes)(
  '$name: who hands over does not wait for a full disk: marks are refused, and what was attempted is due again',
  { timeout: 30_000 },
  async ({ mount }) => {
    using volume = mount()
    await using queue = await openQueue(join(volume.path, 'queue'), { reserveBytes: -VOLUME_BYTES })
    await queue.append(message())
    const [delivery] = queue.takeDue(NOON, 1)
    const settle = () =>
      queue.settle(
        { ...delivery!, at: NOON, outcomes: [{ index: 0, outcome: delivered }] },
        message(undefined, { content: Buffer.alloc(10 * MIB) }),
      )
    const filler = fillDisk(volume)
    const waiting = settle()
    await vi.waitFor(() => expect(queue.room(1)).toBe('full'))
    queue.setMarksWait(false)

    await expect(waiting).rejects.toThrow(QueueFull)
    filler[Symbol.dispose]()
    expect(queue.takeDue(NOON, 10)).toHaveLength(1)
    queue.setMarksWait(true)
    await settle()
    expect(queue.totals().messages).toBe(1)
  },
)
