import { queueIdKey } from './keys.ts'
import type { Batch } from './batch.ts'
import { type ContentFacts, decodeLogEntry, type LogEntry, messageOf, readContentFacts } from './log-entry.ts'
import type { StoredEntry } from './log-queue.ts'
import { type LogWriter, succeeds } from './log-writer.ts'
import { bytesOf } from './recent-entries.ts'
import { CorruptRecord } from './record.ts'
import type { Tables } from './tables.ts'
import { checkContent } from './verify-store.ts'

/** Entries as they travel from one copy of the log to another: byte for byte, with the content of the message beside them. */

const READ_LOG_BYTES = 8 * 2 ** 20

export function readLog(tables: Tables, writer: LogWriter, fromSequence: number, limit: number): readonly StoredEntry[] {
  const first = writer.firstSequence()
  if (fromSequence < first) throw new RangeError(`the log must be read from ${first} on, was from ${fromSequence}`)
  const end = Math.min(fromSequence + limit, writer.lastSequence() + 1)
  const entries: StoredEntry[] = []
  let bytes = 0
  for (let sequence = fromSequence; sequence < end && bytes < READ_LOG_BYTES; sequence++) {
    const entry = writer.recentEntry(sequence) ?? readEntry(tables, writer, sequence)
    entries.push(entry)
    bytes += bytesOf(entry)
  }
  return entries
}

function readEntry(tables: Tables, writer: LogWriter, sequence: number): StoredEntry {
  const record = writer.readEntry(sequence)
  const facts = readContentFacts(record, `log ${sequence}`)
  const content = facts && readSound(tables, facts, sequence <= writer.cutsTo())
  return { sequence, record, ...(content && { content }) }
}

/**
 * What the disk did not keep is not sent, or no copy could ever come past that entry: there the message will be damaged as well. Only where
 * somebody was promised the message, though: what is not committed yet is not confirmed on the word of a copy that lacks the content.
 */
function readSound(tables: Tables, facts: ContentFacts, isCommitted: boolean): Buffer | undefined {
  const content = tables.get('bodies', queueIdKey(facts.queueId))
  if (!content) return undefined
  try {
    return checkContent(content, facts, `bodies ${facts.queueId}`)
  } catch (error) {
    if (isCommitted && error instanceof CorruptRecord) return undefined
    throw error
  }
}

/** Resolves when all are durable; rejects with the first that did not fit, when those before it are durable; then none behind it is there. */
export async function applyEntries(writer: LogWriter, entries: readonly StoredEntry[]): Promise<void> {
  const checked: CheckedEntry[] = []
  const refused: unknown[] = []
  const stopsAt = (error: unknown): void => void refused.push(error)
  for (const entry of entries) if (!succeeds(() => checked.push(check(entry)), stopsAt)) break
  if (checked.length > 0) {
    await writer.change({
      sizeBytes: checked.reduce((sum, { stored }) => sum + bytesOf(stored), 0),
      entries: checked.length,
      whenFull: 'refuse',
      addTo: (batch) => addAll(batch, checked, stopsAt),
    })
  }
  // One that does not fit lies before the one that the checks found, if both did.
  if (refused.length > 0) throw refused.at(-1)
}

type CheckedEntry = { readonly entry: LogEntry; readonly stored: StoredEntry }

function check(stored: StoredEntry): CheckedEntry {
  const { sequence, record, content } = stored
  const where = `entry ${sequence}`
  const entry = decodeLogEntry(record, where)
  const message = messageOf(entry)
  if (message && content) checkContent(content, message, `${where}, its content`)
  if (!message && content) throw new RangeError(`${where}: content must come with a message, was without`)
  return { entry, stored }
}

/** Throws where the first does not fit: then nothing is added. */
function addAll(batch: Batch, checked: readonly CheckedEntry[], stopsAt: (error: unknown) => void): void {
  for (const [index, { entry, stored }] of checked.entries()) {
    const add = (): void => batch.add(entry, stored.content, stored.record)
    if (index === 0) add()
    else if (!succeeds(add, stopsAt)) return
  }
}
