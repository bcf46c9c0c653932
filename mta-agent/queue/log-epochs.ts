import type { EpochTable } from '../domain/epoch-table.ts'
import { parseQueueId } from '../domain/queue-id.ts'
import { describeAside, planAside } from './aside.ts'
import { queueIdKey } from './keys.ts'
import { decodeLogEntry, messageOf, queueIdOf } from './log-entry.ts'
import type { LogWriter, NewChange } from './log-writer.ts'
import type { Millis } from './queue-store.ts'
import { encodeIdentity, IDENTITY_KEY, type StoreIdentity, tableOf } from './store-meta.ts'
import type { Tables, Write } from './tables.ts'

/**
 * Whose log this is: the epochs that it has, the highest that its disk has seen, and the step from one leader to the next (hot standby, R4,
 * R5, R8). What must never happen: `seen` goes down; an entry is taken back that somebody may rely on.
 */
export class LogEpochs {
  readonly #tables: Tables
  readonly #writer: LogWriter
  #identity: StoreIdentity

  constructor(tables: Tables, writer: LogWriter, identity: StoreIdentity) {
    this.#tables = tables
    this.#writer = writer
    this.#identity = identity
  }

  identity(): StoreIdentity {
    return this.#identity
  }

  table(): EpochTable {
    return tableOf(this.#writer.position())
  }

  isComplete(): boolean {
    return this.#identity.complete !== false
  }

  async storeSeen(epoch: number): Promise<void> {
    await this.note({ seen: this.#notBelowSeen(epoch) })
  }

  async begin(epoch: number): Promise<void> {
    // Half a copy that is made to lead (R9) is from then on all that there is.
    await this.note({ seen: this.#notBelowSeen(epoch), complete: true })
    this.#writer.setEpoch(epoch)
  }

  async noteQuickClaim(wall: Millis): Promise<void> {
    await this.note({ quickClaimAt: wall })
  }

  async join({ epoch, parting, forcedEpoch }: { epoch: number; parting: number; forcedEpoch: number }): Promise<void> {
    const identity = { ...this.#identity, seen: this.#notBelowSeen(epoch) }
    await this.#writer.change({
      sizeBytes: 0,
      whenFull: 'wait',
      // Judged here and not before: a commit that was under way may have added to the log.
      addTo: (batch) => {
        this.#requireCuttable(parting)
        const kept = this.#planKept(parting, forcedEpoch)
        batch.cut(parting)
        // After the cut, which takes their contents away.
        for (const write of kept) batch.write(write)
        batch.write({ table: 'meta', key: IDENTITY_KEY, value: encodeIdentity(identity) })
      },
      done: () => {
        this.#identity = identity
      },
    })
  }

  /** A full copy of another log begins: `seen` is that log's epoch, and this queue is incomplete until it is done. */
  async beginCopy(epoch: number): Promise<void> {
    await this.note({ seen: this.#notBelowSeen(epoch), complete: false })
  }

  #notBelowSeen(epoch: number): number {
    const { seen } = this.#identity
    if (!Number.isSafeInteger(epoch) || epoch < seen)
      throw new RangeError(`the epoch must be ${seen}, which this disk has seen, or higher, was ${epoch}`)
    return epoch
  }

  #requireCuttable(parting: number): void {
    const [lowest, last] = [this.#writer.cutsTo(), this.#writer.lastSequence()]
    if (!Number.isSafeInteger(parting) || parting < lowest || parting > last) {
      throw new RangeError(
        `the log must be cut between ${lowest}, the last entry that cannot be taken back, and ${last}, its end, was to be cut at ${parting}`,
      )
    }
  }

  /** Live messages of the part that is cut off which were accepted before a forced promotion: their clients may have been told 250. */
  #planKept(parting: number, forcedEpoch: number): readonly Write[] {
    const writes: Write[] = []
    for (let sequence = parting + 1; sequence <= this.#writer.lastSequence(); sequence++) {
      const entry = decodeLogEntry(this.#writer.readEntry(sequence), `log ${sequence}`)
      if (messageOf(entry) === undefined) continue
      const queueId = queueIdOf(entry)
      const key = queueIdKey(queueId)
      if (parseQueueId(queueId).epoch >= forcedEpoch || this.#tables.get('messages', key) === undefined) continue
      const value = this.#tables.get('bodies', key)
      writes.push(planAside(queueId, describeAside(this.#tables, queueId)), { table: 'bodies', key, ...(value && { value }) })
    }
    return writes
  }

  /** `together`: what changes in the same transaction. */
  async note(change: Partial<StoreIdentity>, together: Together = {}): Promise<void> {
    let identity = this.#identity
    await this.#writer.change({
      sizeBytes: 0,
      whenFull: 'wait',
      addTo: (batch) => {
        identity = { ...this.#identity, ...change }
        together.addTo?.(batch)
        batch.write({ table: 'meta', key: IDENTITY_KEY, value: encodeIdentity(identity) })
      },
      done: () => {
        this.#identity = identity
        together.done?.()
      },
    })
  }
}

type Together = Partial<Pick<NewChange, 'addTo' | 'done'>>
