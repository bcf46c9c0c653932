import type { Millis } from './queue-store.ts'

/** How much of the log is kept for standbys that come back. An entry goes when it is too old or too far back, whichever comes first. */
export type LogKeeping = {
  readonly keepMillis: Millis
  readonly keepEntries: number
}

export const DEFAULT_LOG_KEEPING: LogKeeping = { keepMillis: 3_600_000, keepEntries: 100_000 }

export type TrimQuestion = {
  readonly keeping: LogKeeping
  readonly first: number
  readonly last: number
  readonly now: Millis
  /** When the entry was written; asked for as few entries as possible. */
  readonly writtenAt: (sequence: number) => Millis
  /** Small, so that one transaction frees few pages (lmdb-js #321), but above what one transaction adds, so that the log does not grow. */
  readonly atMost: number
}

/** The new first sequence: everything before it is trimmed. The last entry always stays. */
export function planTrim({ keeping, first, last, now, writtenAt, atMost }: TrimQuestion): number {
  const end = Math.min(first + atMost, last)
  let next = Math.min(Math.max(first, last - keeping.keepEntries + 1), end)
  while (next < end && now - writtenAt(next) > keeping.keepMillis) next++
  return Math.max(next, first)
}
