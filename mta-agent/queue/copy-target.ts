import { parseQueueId, type QueueId } from '../domain/queue-id.ts'
import { coveredAside, covers, describeAside, planAside, planLettingGo } from './aside.ts'
import type { Batch } from './batch.ts'
import { isThere, planPutIn, planTakenOut } from './copied-message.ts'
import { queueIdKey, readQueueIdKey } from './keys.ts'
import type { CopiedContent, CopiedMessage, CopyState, CopyTarget, FullCopy } from './log-queue.ts'
import type { LogEpochs } from './log-epochs.ts'
import type { LogWriter } from './log-writer.ts'
import { decodeMessage } from './message-record.ts'
import { planAllNotes, readNotes } from './notes.ts'
import type { TotalsChange } from './queue-totals.ts'
import { CorruptRecord } from './record.ts'
import { positionOf } from './store-meta.ts'
import type { Tables } from './tables.ts'
import { checkContent } from './verify-store.ts'

/**
 * The taking side of a full copy (hot standby, section 7). Between begin and finish the queue is incomplete, durably: it is made of what the
 * primary has named so far and of what was here before behind that. A copy that is broken off begins again, and asks for no content that it
 * has. What must never happen: it counts as complete before it is; a message goes that R8 keeps.
 */

const STEP_MESSAGES = 500
/** Named and not here: a sender that runs further ahead does not keep to the protocol. */
const MAX_MISSING = 10_000

export type CopyParts = {
  readonly tables: Tables
  readonly writer: LogWriter
  readonly epochs: LogEpochs
  /** The log ends here, and all of it is committed. */
  readonly onFinished: (sequence: number) => void
}

export class QueueCopyTarget implements CopyTarget {
  readonly #parts: CopyParts
  readonly #state: CopyState
  readonly #missing = new Set<QueueId>()
  #named: QueueId | undefined

  private constructor(parts: CopyParts, state: CopyState) {
    this.#parts = parts
    this.#state = state
  }

  /** The own log is gone afterwards, and all messages that the primary cannot know. */
  static async begin(parts: CopyParts, { epoch, forcedEpoch, state }: FullCopy): Promise<CopyTarget> {
    await parts.epochs.beginCopy(epoch)
    await parts.writer.clearLog()
    const target = new QueueCopyTarget(parts, state)
    await target.#removeUnknown(forcedEpoch)
    return target
  }

  /** The primary's log has not come to these: set aside, or promised to nobody. */
  async #removeUnknown(forcedEpoch: number): Promise<void> {
    const unknown = function* (messages: Iterable<QueueId>, state: CopyState): Generator<QueueId> {
      for (const queueId of messages) if (!covers(state.table, parseQueueId(queueId))) yield queueId
    }
    await this.#inSteps(
      () => unknown(this.#messagesAfter(undefined), this.#state),
      (batch, queueId) => {
        const keeps = parseQueueId(queueId).epoch < forcedEpoch
        if (keeps) batch.write(planAside(queueId, describeAside(this.#parts.tables, queueId)))
        this.#takeOut(batch, queueId, keeps ? 'keep the content' : 'drop the content')
      },
    )
  }

  #takeOut(batch: Batch, queueId: QueueId, content: 'keep the content' | 'drop the content'): void {
    batch.apply(planTakenOut(this.#parts.tables, queueId))
    if (content === 'drop the content') batch.write({ table: 'bodies', key: queueIdKey(queueId) })
  }

  /** A change for some at a time, and looked for again each time, until there are none. */
  async #inSteps(find: () => Iterable<QueueId>, change: (batch: Batch, queueId: QueueId) => void): Promise<void> {
    for (;;) {
      const some = [...take(find(), STEP_MESSAGES)]
      if (some.length === 0) return
      await this.#parts.writer.change({
        sizeBytes: 0,
        whenFull: 'refuse',
        addTo: (batch) => {
          for (const queueId of some) change(batch, queueId)
        },
      })
    }
  }

  async put(messages: readonly CopiedMessage[]): Promise<readonly QueueId[]> {
    this.#requireInOrder(messages)
    const last = messages.at(-1)
    if (!last) return []
    const names = new Set(messages.map(({ queueId }) => queueId))
    const finished = [...this.#messagesAfter(this.#named, last.queueId)].filter((queueId) => !names.has(queueId))
    await this.#parts.writer.change({
      sizeBytes: messages.reduce((sum, { record }) => sum + record.length, 0),
      whenFull: 'refuse',
      addTo: (batch) => {
        for (const queueId of finished) this.#takeOut(batch, queueId, 'drop the content')
        for (const message of messages) this.#putOne(batch, message)
      },
    })
    this.#named = last.queueId
    const missing = messages.filter((message) => !this.#hasContent(message)).map(({ queueId }) => queueId)
    for (const queueId of missing) this.#missing.add(queueId)
    return missing
  }

  #requireInOrder(messages: readonly CopiedMessage[]): void {
    let before = this.#named
    for (const { queueId, deliveries } of messages) {
      if (before !== undefined && queueIdKey(queueId).compare(queueIdKey(before)) <= 0)
        throw new RangeError(`copied messages must come in the order of their queue ids, ${queueId} came after ${before}`)
      if (!covers(this.#state.table, parseQueueId(queueId)))
        throw new RangeError(`a copied message must be one that the copied log has come to, ${queueId} was not`)
      if (deliveries.length === 0) throw new RangeError(`${queueId}: a copied message must have a delivery, had none`)
      before = queueId
    }
    if (this.#missing.size > MAX_MISSING)
      throw new RangeError(`at most ${MAX_MISSING} contents may be outstanding before more is named, were ${this.#missing.size}`)
  }

  #putOne(batch: Batch, message: CopiedMessage): void {
    if (isThere(this.#parts.tables, message)) return
    batch.apply(planTakenOut(this.#parts.tables, message.queueId))
    batch.apply(planPutIn(message))
  }

  #hasContent({ queueId, record }: CopiedMessage): boolean {
    try {
      checkContent(this.#parts.tables.get('bodies', queueIdKey(queueId)), decodeMessage(record, `messages ${queueId}`), `bodies ${queueId}`)
      return true
    } catch (error) {
      if (error instanceof CorruptRecord) return false
      throw error
    }
  }

  async putContents(contents: readonly CopiedContent[]): Promise<void> {
    await Promise.all(contents.map((one) => this.#putContent(one)))
  }

  async #putContent({ queueId, content }: CopiedContent): Promise<void> {
    if (!this.#missing.has(queueId)) throw new RangeError(`${queueId}: a content must be one that is missing, was not`)
    if (content !== undefined) {
      const record = this.#parts.tables.get('messages', queueIdKey(queueId))
      if (!record) throw new CorruptRecord(`messages ${queueId}`, 'there, as it was copied', 'missing')
      checkContent(content, decodeMessage(record, `messages ${queueId}`), `${queueId}, its copied content`)
      await this.#parts.writer.change({
        sizeBytes: content.length,
        whenFull: 'refuse',
        addTo: (batch) => batch.write({ table: 'bodies', key: queueIdKey(queueId), value: content }),
      })
    }
    this.#missing.delete(queueId)
  }

  /** In one transaction the log begins anew behind the place of the copy, with its epoch table, and the copy is complete. */
  async finish(): Promise<void> {
    if (this.#missing.size > 0) throw new RangeError(`all contents must be here to finish a copy, ${this.#missing.size} were missing`)
    await this.#inSteps(
      () => this.#messagesAfter(this.#named),
      (batch, queueId) => this.#takeOut(batch, queueId, 'drop the content'),
    )
    const { epochs, writer, onFinished } = this.#parts
    const { sequence, totals } = this.#state
    await epochs.note(
      { complete: true },
      {
        addTo: (batch) => {
          requireEqual(totals, batch.position().totals)
          batch.place(positionOf(this.#state))
          for (const write of planAllNotes(readNotes(this.#parts.tables), this.#state.notes)) batch.write(write)
          for (const key of coveredAside(this.#parts.tables, this.#state.table)) {
            for (const write of planLettingGo(this.#parts.tables, key)) batch.write(write)
          }
        },
        done: () => {
          writer.restartAfter(sequence)
          onFinished(sequence)
        },
      },
    )
  }

  /** Those that are here, in their order. */
  *#messagesAfter(named: QueueId | undefined, upTo?: QueueId): Generator<QueueId> {
    let after = named && queueIdKey(named)
    const last = upTo && queueIdKey(upTo)
    for (;;) {
      const keys = this.#parts.tables.keys('messages', { ...(after && { after }), limit: STEP_MESSAGES })
      for (const key of keys) {
        if (last && key.compare(last) > 0) return
        yield readQueueIdKey(key)
      }
      if (keys.length < STEP_MESSAGES) return
      after = keys.at(-1)
    }
  }
}

function* take<T>(items: Iterable<T>, limit: number): Generator<T> {
  let count = 0
  for (const item of items) {
    if (count++ === limit) return
    yield item
  }
}

function requireEqual(must: TotalsChange, were: TotalsChange): void {
  for (const name of ['messages', 'recipients', 'deferred', 'contentBytes'] as const) {
    if (must[name] !== were[name]) throw new RangeError(`a finished copy must have ${name} of ${must[name]} in all, had ${were[name]}`)
  }
}
