import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/**
 * One process per volume: two would give out the same sequence twice. Node has no flock, and LMDB's own lock admits many processes. So
 * the lock is a transaction that never ends on an empty SQLite file: an fcntl lock, which the kernel holds for the process and drops
 * with it, whatever namespaces the others live in. After a crash or a power cut nothing is left to clean up. It works between
 * processes of one kernel; a volume that two nodes mount at once is beyond it (the volumes here are node-local).
 */
export class DirectoryLocked extends Error {
  override readonly name = 'DirectoryLocked'
}

export function lockDirectory(directory: string): Disposable {
  const database = new DatabaseSync(join(directory, 'lock'), { timeout: 0 })
  try {
    // In memory: else an empty journal file appears beside the lock.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (isBusy(error)) throw new DirectoryLocked(`${directory}: must be free, was locked by another process`, { cause: error })
    throw error
  }
  return { [Symbol.dispose]: () => database.close() }
}

const SQLITE_BUSY = 5
const isBusy = (error: unknown): boolean => error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY
