import { advanceTable, cutTable, type EpochTable, type Origin } from '../domain/epoch-table.ts'
import { CorruptRecord, sealJson, unsealJson } from './record.ts'
import { type Handled, NOTHING_HANDLED } from './handled.ts'
import type { TotalsChange } from './queue-totals.ts'

/** What a volume says of itself (hot standby, section 2). */

export type Shard = { readonly stream: string; readonly shard: number }

/** Written when the volume is formatted, and when its data is found on another volume. */
export type StoreIdentity = Shard & {
  /** 128 random bits in hex: this copy, as the record's in-sync set names it. Never the same on two volumes. */
  readonly copyId: string
  /** The volume's Kubernetes UID; '' where there is none. */
  readonly volume: string
  /** The highest epoch that this disk has followed or led. */
  readonly seen: number
  /** Wall clock of the last quick claim after a restart (R5); absent: there was none. */
  readonly quickClaimAt?: number
  /** False while a full copy of another log is made here; absent: it never was. */
  readonly complete?: boolean
}

/** What the queue comes to at a place of its log. */
export type Sums = { readonly totals: TotalsChange; readonly handled: Handled }

/** Written with every change. */
export type StorePosition = Sums & {
  /**
   * Each epoch with the last sequence that it has here, 0 for none, and how far its messages were taken back (R8), where any were; lowest first.
   * The last one with entries is the current. Never empty.
   */
  readonly epochs: readonly (readonly [epoch: number, lastSequence: number, takenBack?: number])[]
}

const keyNamed = (name: string): Buffer => Buffer.from(name)
export const IDENTITY_KEY = keyNamed('identity')
export const POSITION_KEY = keyNamed('position')

export const encodeIdentity = (identity: StoreIdentity): Buffer => sealJson('identity', identity)
export const decodeIdentity = (record: Buffer): StoreIdentity => unsealJson('identity', record, 'meta identity') as StoreIdentity
export const encodePosition = (position: StorePosition): Buffer => sealJson('position', position)
/** A store of before counted nothing. */
export const decodePosition = (record: Buffer): StorePosition => ({
  handled: NOTHING_HANDLED,
  ...(unsealJson('position', record, 'meta position') as Omit<StorePosition, 'handled'>),
})

export function currentOf(position: StorePosition): { readonly epoch: number; readonly sequence: number } {
  const last = position.epochs.findLast(([, sequence]) => sequence > 0) ?? position.epochs.at(-1)
  if (!last) throw new CorruptRecord('meta position', 'of at least one epoch', 'of none')
  return { epoch: last[0], sequence: last[1] }
}

/** The epochs that have entries here, or of which messages were taken back. */
export const tableOf = (position: StorePosition): EpochTable =>
  position.epochs
    .map(([epoch, last, takenBack = 0]) => ({ epoch, last, takenBack }))
    .filter(({ last, takenBack }) => last > 0 || takenBack > 0)

/** The position at the end of a log with this table. */
export function positionOf({ table, totals, handled }: { readonly table: EpochTable } & Sums): StorePosition {
  const epochs = table.map(({ epoch, last, takenBack }) => (takenBack > 0 ? ([epoch, last, takenBack] as const) : ([epoch, last] as const)))
  return { epochs: epochs.length > 0 ? epochs : [[1, 0]], totals, handled }
}

/** The position when everything after `parting` is taken back, with it hand-over entries of these origins. The sums are the caller's affair. */
export function cutPosition(position: StorePosition, parting: number, origins: readonly Origin[]): StorePosition {
  return positionOf({ ...position, table: cutTable(tableOf(position), parting, origins) })
}

/** The position after an entry. Throws RangeError unless the entry is the very next one. `origin`: of a message that it takes back. */
export function advance(position: StorePosition, entry: Origin, sums: Sums, origin?: Origin): StorePosition {
  const { epoch, sequence } = currentOf(position)
  if (entry.sequence !== sequence + 1) throw new RangeError(`the next entry must be of sequence ${sequence + 1}, was of ${entry.sequence}`)
  if (entry.epoch < epoch) throw new RangeError(`the next entry must be of epoch ${epoch} or higher, was of ${entry.epoch}`)
  const last = position.epochs.at(-1)
  // What nearly every entry is: the next of its epoch.
  if (!origin && last?.[0] === entry.epoch && last[2] === undefined) {
    return { epochs: [...position.epochs.slice(0, -1), [entry.epoch, entry.sequence]], ...sums }
  }
  return positionOf({ table: advanceTable(tableOf(position), entry, origin ?? entry), ...sums })
}

/** The volume belongs to another queue. Nothing on it was changed. */
export class ForeignVolume extends Error {
  override readonly name = 'ForeignVolume'
}
