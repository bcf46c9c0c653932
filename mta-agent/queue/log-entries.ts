import { queueIdKey } from './keys.ts'
import { type ContentFacts, decodeLogEntry, messageOf, readContentFacts } from './log-entry.ts'
import type { StoredEntry } from './log-queue.ts'
import type { LogWriter } from './log-writer.ts'
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
    const record = writer.readEntry(sequence)
    const facts = readContentFacts(record, `log ${sequence}`)
    const content = facts && readSound(tables, facts, sequence <= writer.cutsTo())
    entries.push({ sequence, record, ...(content && { content }) })
    bytes += record.length + (content?.length ?? 0)
  }
  return entries
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

/** Resolves when all are durable; rejects with the first that did not fit, and then none behind it is there. */
export async function applyEntries(writer: LogWriter, entries: readonly StoredEntry[]): Promise<void> {
  const applied = await Promise.allSettled(entries.map((entry) => apply(writer, entry)))
  const failed = applied.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}

async function apply(writer: LogWriter, { sequence, record, content }: StoredEntry): Promise<void> {
  const where = `entry ${sequence}`
  const entry = decodeLogEntry(record, where)
  const message = messageOf(entry)
  if (message && content) checkContent(content, message, `${where}, its content`)
  if (!message && content) throw new RangeError(`${where}: content must come with a message, was without`)
  await writer.change({
    sizeBytes: record.length + (content?.length ?? 0),
    whenFull: 'refuse',
    addTo: (batch) => batch.add(entry, content, record),
  })
}
