import { existsSync, mkdirSync, statfsSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { open, type Database, type RangeOptions, type RootDatabase, type Transaction } from 'lmdb'
import { lockDirectory } from './directory-lock.ts'
import { readDiskSpace } from './disk-room.ts'
import { SENTINEL } from './keys.ts'
import { openQueueStore } from './log-queue-store.ts'
import type { LogQueueStore, StoreOptions } from './log-queue.ts'
import { NoSpace, TABLES, type Range, type Row, type Table, type Tables, type TablesView, type Write } from './tables.ts'

/**
 * The only file that knows lmdb. What it must keep: a commit that resolved survives a power cut, a commit that rejected has written
 * nothing, and all writes of one commit are one transaction.
 */

export type LmdbStoreOptions = Omit<StoreOptions, 'measureSpace'> & { readonly directory: string }

/**
 * Opens, locks and verifies the queue in `directory`, or formats it when it is empty. Throws DirectoryLocked, ForeignVolume,
 * CorruptRecord; the directory is then as it was.
 */
export async function openLmdbQueueStore(options: LmdbStoreOptions): Promise<LogQueueStore> {
  const { directory } = options
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const tables = openTables(directory)
  try {
    return await openQueueStore(tables, { ...options, measureSpace: () => readDiskSpace(directory, tables.reusableBytes()) })
  } catch (error) {
    await tables[Symbol.asyncDispose]()
    throw error
  }
}

type Bytes = Database<Buffer, Buffer>
/** Read only, a table that is newer than the file is not there: nothing is in it. */
type Opened = Readonly<Record<Table, Bytes | undefined>>

/**
 * The tables of a queue that no process has open, to look at: nothing in them is written, and a commit rejects. Throws DirectoryLocked, and
 * an error when there is no queue.
 */
export function openTablesReadOnly(directory: string): Tables {
  if (!existsSync(queueFile(directory))) throw new Error(`${directory}: must have a queue, has none (${queueFile(directory)} is not there)`)
  return openTables(directory, 'read only')
}

/** Locked before the first read, and until the last write is done. */
export function openTables(directory: string, access: 'read and write' | 'read only' = 'read and write'): Tables {
  using opening = new DisposableStack()
  const lock = opening.use(lockDirectory(directory))
  const root = openRoot(directory, access === 'read only')
  const opened = Object.fromEntries(TABLES.map((name) => [name, root.openDB<Buffer, Buffer>(name, BINARY)])) as Opened
  opening.move()
  const snapshots = new Set<Transaction>()
  return {
    ...viewOf(opened),
    count: (table) => countOf(opened[table]),
    commit: (writes) => commit(root, opened, writes),
    snapshot: () => takeSnapshot(root, opened, snapshots),
    reusableBytes: () => reusableBytes(root, opened),
    [Symbol.asyncDispose]: async () => {
      for (const transaction of snapshots) transaction.done()
      snapshots.clear()
      await root.close()
      lock[Symbol.dispose]()
    },
  }
}

/** Other people's mail. lmdb's types do not know this option, its code does. */
const PRIVATE = { permissionsMode: 0o600 }
const BINARY = { encoding: 'binary', keyEncoding: 'binary' } as const

const queueFile = (directory: string): string => join(directory, 'queue.mdb')

function openRoot(directory: string, readOnly: boolean): RootDatabase<Buffer, Buffer> {
  const { blocks, bsize } = statfsSync(directory)
  return open<Buffer, Buffer>({
    ...BINARY,
    ...PRIVATE,
    path: queueFile(directory),
    readOnly,
    noSubdir: true,
    maxDbs: TABLES.length + 1,
    // A commit is durable when it resolves; with overlapping syncs a failed one stays readable, and its `flushed` hangs for ever.
    overlappingSync: false,
    // Our commits are explicit batches. Batching by event turn as well would make a promise that nobody sees reject unhandled.
    eventTurnBatching: false,
    // Address space only. The disk is full before the map is, so the map never has to be moved under readers.
    mapSize: Math.ceil((blocks * bsize) / 2 ** 20) * 2 ** 20 + 2 ** 26,
  })
}

/** In a transaction, or else as it is at each call. */
function viewOf(opened: Opened, transaction?: Transaction): TablesView {
  const within = transaction && { transaction }
  return {
    get: (table, key) => opened[table]?.get(key, within),
    range: (table, range) => readRange(opened[table], { ...rangeOptions(range), ...within }),
    keys: (table, range) => [...(opened[table]?.getKeys({ ...rangeOptions(range), ...within }) ?? [])],
  }
}

function takeSnapshot(root: RootDatabase<Buffer, Buffer>, opened: Opened, taken: Set<Transaction>): TablesView & Disposable {
  // The transaction that reads have just used may be older than the last commit.
  root.resetReadTxn()
  const transaction = root.useReadTransaction()
  taken.add(transaction)
  const end = (): void => {
    // The tables may have been closed before.
    if (taken.delete(transaction)) transaction.done()
  }
  return { ...viewOf(opened, transaction), [Symbol.dispose]: end }
}

function readRange(database: Bytes | undefined, options: RangeOptions): readonly Row[] {
  const rows: Row[] = []
  for (const { key, value } of database?.getRange(options) ?? []) rows.push({ key, value })
  return rows
}

/** Without a snapshot: an iterator must not hold the pages of an old state. None outlives its call. */
const rangeOptions = ({ after, end, limit }: Range): RangeOptions => ({
  ...(after && { start: after, exclusiveStart: true }),
  end: end ?? SENTINEL,
  limit,
  snapshot: false,
})

async function commit(root: RootDatabase<Buffer, Buffer>, opened: Opened, writes: readonly Write[]): Promise<void> {
  try {
    await root.batch(() => {
      for (const { table, key, value } of writes) {
        const database = opened[table]
        if (!database) throw new Error(`table ${table} must be there to be written, was not, as the file is open for reading`)
        // Their promises are of no use: inside a batch they say nothing, the batch's own promise says all.
        if (value) void database.put(key, value)
        else void database.remove(key)
      }
    })
  } catch (error) {
    throw await causeOf(error)
  }
  root.resetReadTxn()
}

/** lmdb rejects with a general error and tells why in a promise beside it, which rejects as well. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error && 'commitError' in error)) return error
  return Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => {
      const message = `commit failed: ${cause instanceof Error ? cause.message : String(cause)}`
      const isNoSpace = cause instanceof Error && 'code' in cause && cause.code === constants.errno.ENOSPC
      return isNoSpace ? new NoSpace(message, { cause }) : new Error(message, { cause })
    },
  )
}

type Stats = {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
  readonly entryCount: number
}
type RootStats = Stats & { readonly root: Stats; readonly free: Stats; readonly lastPageNumber: number }

const statsOf = (database: Bytes): RootStats => database.getStats() as RootStats
const pagesIn = (database: Bytes | undefined): number => (database ? pagesOf(statsOf(database)) : 0)
const pagesOf = (stats: Stats): number => stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages
const countOf = (database: Bytes | undefined): number => (database ? statsOf(database).entryCount - (database.get(SENTINEL) ? 1 : 0) : 0)

const META_PAGES = 2

function reusableBytes(root: RootDatabase<Buffer, Buffer>, opened: Opened): number {
  const whole = statsOf(root)
  const used = TABLES.reduce((sum, table) => sum + pagesIn(opened[table]), META_PAGES + pagesOf(whole.root) + pagesOf(whole.free))
  return Math.max(0, whole.lastPageNumber + 1 - used) * whole.pageSize
}
