import { statfsSync } from 'node:fs'

/** Whether there is room for a message. The file never shrinks, so what counts is what the disk has left and what the file can use again. */
export type DiskSpace = {
  readonly volumeBytes: number
  /** Available to us on the volume. */
  readonly freeBytes: number
  /** Free pages inside the file. */
  readonly reusableBytes: number
}

const MIB = 2 ** 20

/** Kept for marks, the log and the pages that a change copies: a full queue must be able to become empty. */
export const reserveOf = (volumeBytes: number): number => Math.max(16 * MIB, Math.ceil(volumeBytes / 50))

/** Free pages lie scattered, and a message needs neighbouring ones: small ones find them, large ones make the file grow. */
const LARGE_BYTES = MIB

/** Pages are rounded up, and envelope, schedule and log come on top. */
const OVERHEAD_BYTES = 16 * 1024

/** `pendingBytes` were promised room since `space` was measured, and are not yet in it. */
export function judgeRoom(space: DiskSpace, sizeBytes: number, pendingBytes: number, reserveBytes: number): 'room' | 'full' {
  const reusable = sizeBytes < LARGE_BYTES ? space.reusableBytes / 2 : 0
  return space.freeBytes + reusable - reserveBytes >= pendingBytes + sizeBytes + OVERHEAD_BYTES ? 'room' : 'full'
}

export function readDiskSpace(directory: string, reusableBytes: number): DiskSpace {
  const { blocks, bavail, bsize } = statfsSync(directory)
  return { volumeBytes: blocks * bsize, freeBytes: bavail * bsize, reusableBytes }
}

/** Not asked of the kernel again within this time, unless the answer was "full". */
const FRESH_MILLIS = 50

/** Judges room for each message, without a system call for each. */
export class RoomMeter {
  readonly #measure: () => DiskSpace
  readonly #reserveBytes: number | undefined
  #space: DiskSpace | undefined
  #measuredAt = 0
  #uncommittedBytes = 0
  #committedSinceBytes = 0

  constructor(measure: () => DiskSpace, reserveBytes?: number) {
    this.#measure = measure
    this.#reserveBytes = reserveBytes
  }

  judge(sizeBytes: number): 'room' | 'full' {
    if (this.#space && performance.now() - this.#measuredAt < FRESH_MILLIS && this.#verdict(this.#space, sizeBytes) === 'room')
      return 'room'
    return this.#verdict(this.measure(), sizeBytes)
  }

  measure(): DiskSpace {
    this.#space = this.#measure()
    this.#measuredAt = performance.now()
    this.#committedSinceBytes = 0
    return this.#space
  }

  #verdict(space: DiskSpace, sizeBytes: number): 'room' | 'full' {
    const reserve = this.#reserveBytes ?? reserveOf(space.volumeBytes)
    return judgeRoom(space, sizeBytes, this.#uncommittedBytes + this.#committedSinceBytes, reserve)
  }

  promised(bytes: number): void {
    this.#uncommittedBytes += bytes
  }

  committed(bytes: number): void {
    this.#uncommittedBytes -= bytes
    this.#committedSinceBytes += bytes
  }

  refused(bytes: number): void {
    this.#uncommittedBytes -= bytes
  }
}
