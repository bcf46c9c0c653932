import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { countDeliveryRow } from './delivery-row.ts'
import type { Domain } from '../domain/envelope.ts'
import type { QueueId } from '../domain/queue-id.ts'
import { readDeliveryKey, readQueueIdKey, readSequenceKey, SENTINEL, sequenceKey } from './keys.ts'
import { readEntryHead } from './log-entry.ts'
import { decodeMessage } from './message-record.ts'
import { NOTHING_HANDLED } from './handled.ts'
import { NO_CHANGE } from './queue-totals.ts'
import { CorruptRecord, seal } from './record.ts'
import {
  currentOf,
  decodeIdentity,
  decodePosition,
  encodeIdentity,
  encodePosition,
  ForeignVolume,
  IDENTITY_KEY,
  POSITION_KEY,
  type Shard,
  type StoreIdentity,
  type StorePosition,
} from './store-meta.ts'
import { TABLES, type Row, type Table, type Tables } from './tables.ts'

/** What a volume must be before mail is accepted on it, and how an empty one becomes that. */

export type OpenedStore = {
  readonly identity: StoreIdentity
  readonly position: StorePosition
  readonly firstSequence: number
  /** The first entry that can be taken back; one more than the last when there is none. */
  readonly firstUndo: number
  /** Deliveries of each destination. */
  readonly lanes: ReadonlyMap<Domain, number>
}
export type Expected = { readonly shard: Shard; readonly volume: string }

const FIRST_EPOCH = 1
/** Entries at the end of the log that are checked on opening: those that a torn write could have reached, and many more. */
const TAIL_ENTRIES = 1000
const SLICE_ROWS = 5000

export async function openVerified(tables: Tables, expected: Expected): Promise<OpenedStore> {
  const record = tables.get('meta', IDENTITY_KEY)
  if (!record) return format(tables, expected)
  const identity = decodeIdentity(record)
  requireShard(identity, expected.shard)
  await addMissingTables(tables)
  const verified = await verifyQueue(tables, TAIL_ENTRIES)
  return { ...verified, identity: await adoptVolume(tables, identity, expected.volume) }
}

/** Everything but contents and envelopes; of the log, so many entries at its end. Throws CorruptRecord at the first that is damaged. */
export async function verifyQueue(tables: Tables, entries: number): Promise<Omit<OpenedStore, 'identity'>> {
  const position = readPosition(tables)
  const firstSequence = verifyLog(tables, position, entries)
  const firstUndo = verifyUndo(tables, position)
  const lanes = await verifyDeliveries(tables, position)
  verifyMessages(tables, position)
  return { position, firstSequence, firstUndo, lanes }
}

export function readPosition(tables: Tables): StorePosition {
  const record = tables.get('meta', POSITION_KEY)
  if (!record) throw new CorruptRecord('meta position', 'there', 'missing')
  return decodePosition(record)
}

async function format(tables: Tables, { shard, volume }: Expected): Promise<OpenedStore> {
  for (const table of TABLES) {
    if (tables.count(table) > 0)
      throw new CorruptRecord('meta identity', 'there, as there are records', `missing with ${tables.count(table)} in ${table}`)
  }
  const identity = { ...shard, volume, copyId: newCopyId(), seen: FIRST_EPOCH }
  const position: StorePosition = { epochs: [[FIRST_EPOCH, 0]], totals: NO_CHANGE, handled: NOTHING_HANDLED }
  await tables.commit([
    ...TABLES.map((table) => ({ table, key: SENTINEL, value: seal('sentinel') })),
    { table: 'meta', key: IDENTITY_KEY, value: encodeIdentity(identity) },
    { table: 'meta', key: POSITION_KEY, value: encodePosition(position) },
  ])
  return { identity, position, firstSequence: 1, firstUndo: 1, lanes: new Map() }
}

/** A store of before has fewer tables; empty is what the others are then. */
async function addMissingTables(tables: Tables): Promise<void> {
  const missing = TABLES.filter((table) => tables.get(table, SENTINEL) === undefined)
  if (missing.length > 0) await tables.commit(missing.map((table) => ({ table, key: SENTINEL, value: seal('sentinel') })))
}

const newCopyId = (): string => randomBytes(16).toString('hex')

function requireShard(identity: StoreIdentity, shard: Shard): void {
  if (identity.stream === shard.stream && identity.shard === shard.shard) return
  throw new ForeignVolume(
    `the volume must be of stream ${shard.stream} shard ${shard.shard}, was of stream ${identity.stream} shard ${identity.shard}; it was left alone`,
  )
}

/**
 * Our queue on another volume (restored from a snapshot, cloned) is another copy of it, with a name of its own. Where one of the two is not
 * known nothing is: a queue that has never been told its volume takes the first for its own, and keeps its place in the set.
 */
async function adoptVolume(tables: Tables, identity: StoreIdentity, volume: string): Promise<StoreIdentity> {
  if (volume === '' || identity.volume === volume) return identity
  const adopted = { ...identity, volume, ...(identity.volume !== '' && { copyId: newCopyId() }) }
  await tables.commit([{ table: 'meta', key: IDENTITY_KEY, value: encodeIdentity(adopted) }])
  return adopted
}

/** The log has no gap and ends where the position says. Returns its first sequence; one more than the last when there is no entry. */
function verifyLog(tables: Tables, position: StorePosition, entries: number): number {
  const { sequence: last } = currentOf(position)
  const first = firstKey(tables, 'log')
  const firstSequence = first ? readSequenceKey(first) : last + 1
  const count = tables.count('log')
  if (count !== last - firstSequence + 1)
    throw new CorruptRecord('log', `without a gap from ${firstSequence} to ${last}`, `of ${count} entries`)
  for (let sequence = Math.max(firstSequence, last - entries + 1); sequence <= last; sequence++) {
    const where = `log ${sequence}`
    const record = tables.get('log', sequenceKey(sequence))
    if (!record) throw new CorruptRecord(where, 'there', 'missing')
    const head = readEntryHead(record, where)
    if (head.sequence !== sequence) throw new CorruptRecord(where, `of sequence ${sequence}`, `of ${head.sequence}`)
  }
  return firstSequence
}

/** What can be taken back is the end of the log, without a gap. */
function verifyUndo(tables: Tables, position: StorePosition): number {
  const { sequence: last } = currentOf(position)
  const first = firstKey(tables, 'undo')
  const firstUndo = first ? readSequenceKey(first) : last + 1
  const count = tables.count('undo')
  if (count !== last - firstUndo + 1) throw new CorruptRecord('undo', `without a gap from ${firstUndo} to ${last}`, `of ${count} entries`)
  return firstUndo
}

async function verifyDeliveries(tables: Tables, position: StorePosition): Promise<ReadonlyMap<Domain, number>> {
  const { recipients, deferred, lanes } = await countDeliveries(tables)
  requireEqual('deliveries', 'recipients', position.totals.recipients, recipients)
  requireEqual('deliveries', 'deferred recipients', position.totals.deferred, deferred)
  requireEqual('schedule', 'deliveries', tables.count('deliveries'), tables.count('schedule'))
  return lanes
}

function verifyMessages(tables: Tables, position: StorePosition): void {
  requireEqual('messages', 'messages', position.totals.messages, tables.count('messages'))
  // An entry that can be taken back finishes one message at most, whose content waits until it cannot.
  const most = position.totals.messages + tables.count('undo') + tables.count('aside')
  if (tables.count('bodies') > most) throw new CorruptRecord('bodies', `of ${most} messages at most`, `of ${tables.count('bodies')}`)
}

function requireEqual(where: string, what: string, must: number, was: number): void {
  if (must !== was) throw new CorruptRecord(where, `of ${must} ${what}`, `of ${was}`)
}

export type DeliveryCount = { readonly recipients: number; readonly deferred: number; readonly lanes: ReadonlyMap<Domain, number> }

/** Reads and checks every delivery. */
export async function countDeliveries(tables: Tables): Promise<DeliveryCount> {
  const lanes = new Map<Domain, number>()
  let recipients = 0
  let deferred = 0
  for await (const rows of slices(tables, 'deliveries')) {
    for (const { key, value } of rows) {
      const counted = countDeliveryRow(value, `deliveries ${key.toString('hex')}`)
      recipients += counted.recipients
      deferred += counted.deferred
      const { destination } = readDeliveryKey(key)
      lanes.set(destination, (lanes.get(destination) ?? 0) + 1)
    }
  }
  return { recipients, deferred, lanes }
}

export type ScrubResult = {
  readonly messages: number
  readonly contentBytes: number
  /** Of these messages. */
  readonly damaged: number
}

export type ScrubOptions = {
  /** Called for each message that is not what was accepted. */
  readonly onDamage: (queueId: QueueId, damage: CorruptRecord) => void
  /** Waited for after every mebibyte or 256 messages: it sets the pace. */
  readonly rest?: () => Promise<void>
}

const STRETCH_BYTES = 2 ** 20
const STRETCH_MESSAGES = 256

/** Reads and checks every message and its content, in small steps; what is damaged is told of, and the next one looked at. */
export async function scrubMessages(tables: Tables, signal: AbortSignal, { onDamage, rest }: ScrubOptions): Promise<ScrubResult> {
  const sum = { messages: 0, contentBytes: 0, damaged: 0 }
  let rested = { messages: 0, contentBytes: 0 }
  // One message at a time: the largest ones take milliseconds each, and others wait meanwhile.
  for await (const rows of slices(tables, 'messages', 1)) {
    signal.throwIfAborted()
    for (const row of rows) {
      const { sizeBytes, damage } = checkMessage(tables, row)
      sum.messages++
      sum.contentBytes += sizeBytes
      if (damage === undefined) continue
      sum.damaged++
      onDamage(readQueueIdKey(row.key), damage)
    }
    if (sum.contentBytes - rested.contentBytes < STRETCH_BYTES && sum.messages - rested.messages < STRETCH_MESSAGES) continue
    rested = { ...sum }
    await rest?.()
  }
  return sum
}

type Checked = { readonly sizeBytes: number; readonly damage?: CorruptRecord }

function checkMessage(tables: Tables, { key, value }: Row): Checked {
  const queueId = readQueueIdKey(key)
  try {
    const message = decodeMessage(value, `messages ${queueId}`)
    return { sizeBytes: checkContent(tables.get('bodies', key), message, `bodies ${queueId}`).length }
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error
    return { sizeBytes: 0, damage: error }
  }
}

export function checkContent(content: Buffer | undefined, message: { sizeBytes: number; contentChecksum: number }, where: string): Buffer {
  if (!content) throw new CorruptRecord(where, 'there', 'missing')
  if (content.length !== message.sizeBytes) throw new CorruptRecord(where, `of ${message.sizeBytes} bytes`, `of ${content.length}`)
  if (crc32(content) !== message.contentChecksum) throw new CorruptRecord(where, 'as it was accepted', 'of another checksum')
  return content
}

/** Between two slices everything else has its turn, and no read transaction keeps old pages. */
export async function* slices(tables: Tables, table: Table, limit = SLICE_ROWS): AsyncGenerator<readonly Row[]> {
  let after: Buffer | undefined
  for (;;) {
    const rows = tables.range(table, { ...(after && { after }), limit })
    if (rows.length > 0) yield rows
    if (rows.length < limit) return
    after = rows.at(-1)!.key
    await nextTurn()
  }
}

const firstKey = (tables: Tables, table: Table): Buffer | undefined => tables.range(table, { limit: 1 })[0]?.key
