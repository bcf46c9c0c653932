import * as z from 'zod'
import type { QueueId } from '../../domain/queue-id.ts'
import type { CopiedContent, CopiedMessage, CopyState, OfferedMessage, StoredEntry } from '../../queue/log-queue.ts'
import type { EpochTable } from '../follow.ts'
import { decodeContents, decodeNamed, decodeOffer, encodeContents, encodeNamed, encodeOffer, parseId } from './copy-messages.ts'
import { type Frame, LinkFault } from './frames.ts'
import { parseJson } from './parse-json.ts'

/**
 * What is said on the log link (README.md section 6), → from standby to primary:
 *
 *   → hello   ← start | refused   ← entries …   → confirm …
 *   → offer …   ← notTaken
 *                       └ full copy: ← named  → wanted  ← contents …  ← named …  ← copied, then as above
 *
 * Each carries the epoch of the session. Additions come with a higher version; both sides speak the highest that both know, so that an old
 * and a new agent work together while a stream is updated.
 */

/** Versions of this link that this program speaks. */
export const VERSIONS = { least: 1, most: 1 } as const

export type Hello = {
  readonly kind: 'hello'
  readonly versions: { readonly least: number; readonly most: number }
  /** From the welcome on the beacon link: binds both connections to one session. */
  readonly token: string
  readonly table: EpochTable
  /** False while a full copy is under way. */
  readonly complete: boolean
  /** The lowest sequence after which this log can still be cut: what lies before it is committed here and cannot be undone. */
  readonly cutsTo: number
  /** How many messages were set aside here (R8). */
  readonly aside: number
}

export type Start = {
  readonly kind: 'start'
  readonly version: number
  readonly table: EpochTable
  readonly forcedEpoch: number
  readonly with:
    /** The sequence of the first entry that follows. */
    | { readonly kind: 'entries'; readonly from: number }
    /** The queue as it is at this place of its log, whose table is the one above; the entries behind it follow. */
    | ({ readonly kind: 'fullCopy'; readonly notes: readonly Note[] } & Pick<CopyState, 'sequence' | 'totals' | 'handled'>)
}

/** What moves with the queue beside the messages. */
export type Note = readonly [key: string, value: string]

export type Refused = { readonly kind: 'refused'; readonly because: RefusalReason; readonly text: string }
export type RefusalReason = 'UnknownToken' | 'OtherEpoch' | 'NoCommonVersion'

/** `committed`: confirmed by all that must; without entries it says only that. */
export type Entries = { readonly kind: 'entries'; readonly committed: number; readonly entries: readonly StoredEntry[] }

/** All up to here is fsynced. */
export type Confirm = { readonly kind: 'confirm'; readonly sequence: number; readonly complete: boolean }

/** Messages of a full copy, in the order of their queue ids. */
export type Named = { readonly kind: 'named'; readonly messages: readonly CopiedMessage[] }

/** Of those named last: whose content is missing here. */
export type Wanted = { readonly kind: 'wanted'; readonly queueIds: readonly QueueId[] }

/** Of those wanted, in their order; the rest follows. */
export type Contents = { readonly kind: 'contents'; readonly contents: readonly CopiedContent[] }

/** All was named, all that was wanted has come, and the place of the copy is committed. */
export type Copied = { readonly kind: 'copied' }

/** A message that was set aside (R8), for the primary to take back; `from`: where the offers of its epoch go on. */
export type Offered = { readonly kind: 'offer'; readonly from: number; readonly message: OfferedMessage }

/** It was taken before, or something is missing before it. What was taken comes back in the log. */
export type NotTaken = { readonly kind: 'notTaken'; readonly queueId: QueueId; readonly text: string }

export type Message = Hello | Start | Refused | Entries | Confirm | Named | Wanted | Contents | Copied | Offered | NotTaken

/** Numbers are never used twice. */
const TYPES = {
  hello: 1,
  start: 2,
  refused: 3,
  entries: 4,
  confirm: 5,
  named: 6,
  wanted: 7,
  contents: 8,
  copied: 9,
  offer: 10,
  notTaken: 11,
} as const satisfies Record<Message['kind'], number>
const KINDS: ReadonlyMap<number, Message['kind']> = new Map(
  Object.entries(TYPES).map(([kind, type]) => [type, kind as Message['kind']] as const),
)

const whole = z.int().nonnegative()
const epochTable = z.array(z.object({ epoch: whole, last: whole, takenBack: whole }))
const hello = z.object({
  versions: z.object({ least: whole, most: whole }),
  token: z.string().min(1),
  table: epochTable,
  complete: z.boolean(),
  cutsTo: whole,
  aside: whole,
})
const start = z.object({
  version: whole,
  table: epochTable,
  forcedEpoch: whole,
  with: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('entries'), from: whole }),
    z.object({
      kind: z.literal('fullCopy'),
      sequence: whole,
      totals: z.object({ messages: whole, recipients: whole, deferred: whole, contentBytes: whole }),
      handled: z.object({ accepted: whole, delivered: whole, bounced: whole, deferred: whole }),
      notes: z.array(z.tuple([z.string(), z.string()])),
    }),
  ]),
})
const refused = z.object({ because: z.enum(['UnknownToken', 'OtherEpoch', 'NoCommonVersion']), text: z.string() })

const notTaken = z.object({ queueId: z.string(), text: z.string() })

export function encodeMessage<K extends Message['kind']>(
  message: MessageOf<K>,
): { readonly type: number; readonly parts: readonly Uint8Array[] } {
  const encode: Encoder<K> = ENCODERS[message.kind as K]
  return { type: TYPES[message.kind], parts: encode(message) }
}

export type MessageOf<K extends Message['kind']> = Extract<Message, { readonly kind: K }>
type Encoder<K extends Message['kind']> = (message: MessageOf<K>) => readonly Uint8Array[]

const ENCODERS: { readonly [K in Message['kind']]: Encoder<K> } = {
  hello: formatJson,
  start: formatJson,
  refused: formatJson,
  entries: encodeEntries,
  confirm: ({ sequence, complete }) => {
    const bytes = Buffer.allocUnsafe(7)
    bytes.writeUIntBE(sequence, 0, 6)
    bytes.writeUInt8(complete ? 1 : 0, 6)
    return [bytes]
  },
  named: ({ messages }) => encodeNamed(messages),
  wanted: ({ queueIds }) => [Buffer.from(queueIds.join(' '))],
  contents: ({ contents }) => encodeContents(contents),
  copied: () => [],
  offer: encodeOffer,
  notTaken: formatJson,
}

function formatJson({ kind: _kind, ...rest }: Message): readonly Uint8Array[] {
  return [Buffer.from(JSON.stringify(rest))]
}

/** Throws LinkFault for what is no message. */
export function decodeMessage({ type, payload }: Pick<Frame, 'type' | 'payload'>): Message {
  const kind = KINDS.get(type)
  if (kind === undefined) throw new LinkFault(`a frame must be of a known type, was of ${type}`)
  return DECODERS[kind](payload)
}

const DECODERS: { readonly [K in Message['kind']]: (payload: Buffer) => MessageOf<K> } = {
  hello: (payload) => ({ kind: 'hello', ...parseJson(hello, 'hello', payload) }),
  start: (payload) => ({ kind: 'start', ...parseJson(start, 'start', payload) }),
  refused: (payload) => ({ kind: 'refused', ...parseJson(refused, 'refused', payload) }),
  entries: decodeEntries,
  confirm: (payload) => {
    if (payload.length !== 7) throw new LinkFault(`a confirm must be of 7 bytes, was of ${payload.length}`)
    return { kind: 'confirm', sequence: payload.readUIntBE(0, 6), complete: payload.readUInt8(6) === 1 }
  },
  named: (payload) => ({ kind: 'named', messages: decodeNamed(payload) }),
  wanted: (payload) => ({ kind: 'wanted', queueIds: payload.length === 0 ? [] : payload.toString('latin1').split(' ').map(parseId) }),
  contents: (payload) => ({ kind: 'contents', contents: decodeContents(payload) }),
  copied: () => ({ kind: 'copied' }),
  offer: (payload) => ({ kind: 'offer', ...decodeOffer(payload) }),
  notTaken: (payload) => {
    const { queueId, text } = parseJson(notTaken, 'notTaken', payload)
    return { kind: 'notTaken', queueId: parseId(queueId), text }
  },
}

const ENTRIES_HEAD_BYTES = 16
const ENTRY_HEAD_BYTES = 8
const NO_CONTENT = 0xff_ff_ff_ff

/** Committed 6, first sequence 6, count 4; for each entry the length of record and content, 4 and 4; then records and contents in turn. */
function encodeEntries({ committed, entries }: Entries): readonly Uint8Array[] {
  const head = Buffer.allocUnsafe(ENTRIES_HEAD_BYTES + ENTRY_HEAD_BYTES * entries.length)
  head.writeUIntBE(committed, 0, 6)
  head.writeUIntBE(entries[0]?.sequence ?? 0, 6, 6)
  head.writeUInt32BE(entries.length, 12)
  const parts: Uint8Array[] = [head]
  for (const [index, { record, content }] of entries.entries()) {
    const at = ENTRIES_HEAD_BYTES + ENTRY_HEAD_BYTES * index
    head.writeUInt32BE(record.length, at)
    head.writeUInt32BE(content ? content.length : NO_CONTENT, at + 4)
    parts.push(record)
    if (content) parts.push(content)
  }
  return parts
}

/** Only the lengths are looked at here: records and contents have checksums, which the store checks. */
function decodeEntries(payload: Buffer): Entries {
  const headBytes = ENTRIES_HEAD_BYTES + ENTRY_HEAD_BYTES * (payload.length < ENTRIES_HEAD_BYTES ? 0 : payload.readUInt32BE(12))
  if (payload.length < headBytes) throw new LinkFault(`entries must be of ${headBytes} bytes at least, were of ${payload.length}`)
  const from = payload.readUIntBE(6, 6)
  const entries: StoredEntry[] = []
  let at = headBytes
  const take = (length: number): Buffer => payload.subarray(at, (at += length))
  for (let head = ENTRIES_HEAD_BYTES; head < headBytes; head += ENTRY_HEAD_BYTES) {
    const record = take(payload.readUInt32BE(head))
    const contentBytes = payload.readUInt32BE(head + 4)
    entries.push({ sequence: from + entries.length, record, ...(contentBytes !== NO_CONTENT && { content: take(contentBytes) }) })
  }
  if (at !== payload.length) throw new LinkFault(`entries must be of ${at} bytes, were of ${payload.length}`)
  return { kind: 'entries', committed: payload.readUIntBE(0, 6), entries }
}

/** The highest version that both speak; undefined when there is none. */
export function commonVersion(theirs: Hello['versions']): number | undefined {
  const version = Math.min(VERSIONS.most, theirs.most)
  return version >= Math.max(VERSIONS.least, theirs.least) ? version : undefined
}
