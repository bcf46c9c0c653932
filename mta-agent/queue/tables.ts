/**
 * What the queue needs of a storage engine: a few tables of ordered bytes and one atomic, durable write. One writer, one process.
 */

export const TABLES = ['meta', 'log', 'messages', 'bodies', 'deliveries', 'schedule', 'remaining', 'undo', 'aside', 'notes'] as const
export type Table = (typeof TABLES)[number]

export type Row = { readonly key: Buffer; readonly value: Buffer }
/** `value` absent: the key is removed. Buffers belong to the engine from then on: they are read while the write runs. */
export type Write = { readonly table: Table; readonly key: Buffer; readonly value?: Buffer }
/** Keys above `after` and below `end`. */
export type Range = { readonly after?: Buffer; readonly end?: Buffer; readonly limit: number }

/** A commit did not fit on the disk. */
export class NoSpace extends Error {
  override readonly name = 'NoSpace'
}

/** What can be read. */
export type TablesView = {
  /** A copy; undefined when there is none. Sees what was committed, nothing else. */
  get(table: Table, key: Buffer): Buffer | undefined
  /** Rows in order of their keys, `end` and the sentinel excluded; at most `limit`. */
  range(table: Table, range: Range): readonly Row[]
  /** As `range`, without reading the values. */
  keys(table: Table, range: Range): readonly Buffer[]
}

export type Tables = AsyncDisposable &
  TablesView & {
    /** Rows of the table without the sentinel. */
    count(table: Table): number
    /** All or nothing. Resolves when it would survive a power cut; rejects when nothing was written. One at a time. */
    commit(writes: readonly Write[]): Promise<void>
    /** All as it is now, however the tables change. While it is open, no page of it is used again: the file grows by what changes. */
    snapshot(): TablesView & Disposable
    /** Bytes inside the file that hold nothing and are used again before it grows. */
    reusableBytes(): number
  }
