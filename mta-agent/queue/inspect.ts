import { fileURLToPath } from 'node:url'
import { formatQueueId, parseQueueId, type QueueId } from '../domain/queue-id.ts'
import { decodeDeliveryRow, type DeliveryRow } from './delivery-row.ts'
import { DirectoryLocked } from './directory-lock.ts'
import { deliveriesOf } from './expired-messages.ts'
import { deliveryKey, queueIdKey, readDeliveryKey, type DeliveryName } from './keys.ts'
import { openTablesReadOnly } from './lmdb-queue-store.ts'
import { decodeMessage, type MessageRecord } from './message-record.ts'
import { CorruptRecord } from './record.ts'
import { currentOf, decodeIdentity, IDENTITY_KEY } from './store-meta.ts'
import type { Tables } from './tables.ts'
import { checkContent, readPosition, scrubMessages, slices, verifyQueue } from './verify-store.ts'

/**
 * `npm run queue -- DIRECTORY [list | verify | show QUEUEID]`: what is on a volume, for people. It changes nothing and takes the volume's lock
 * while it looks, so it can neither disturb an agent nor see a queue that is changing. What is damaged is said, and never ends the looking.
 */

export const USAGE = 'usage: queue DIRECTORY [list | verify | show QUEUEID]'

export type Inspection = {
  readonly directory: string
  readonly command: { readonly kind: 'list' } | { readonly kind: 'verify' } | { readonly kind: 'show'; readonly queueId: QueueId }
}

/** Throws RangeError, saying what must be and what was. */
export function parseInspection(args: readonly string[]): Inspection {
  const [directory, kind = 'list', name, ...more] = args
  if (directory !== undefined && more.length === 0) {
    if ((kind === 'list' || kind === 'verify') && name === undefined) return { directory, command: { kind } }
    if (kind === 'show' && name !== undefined) return { directory, command: { kind, queueId: formatQueueId(parseQueueId(name)) } }
  }
  throw new RangeError(`${USAGE}, was ${JSON.stringify(args.join(' '))}`)
}

/** Says what it finds, line by line; whether all of it is as it must be. Throws DirectoryLocked, and an error when there is no queue. */
export async function inspect({ directory, command }: Inspection, say: (line: string) => void): Promise<boolean> {
  await using tables = openTablesReadOnly(directory)
  switch (command.kind) {
    case 'list':
      return await list(tables, say)
    case 'verify':
      return await verify(tables, say)
    case 'show':
      return show(tables, command.queueId, say)
  }
}

function describeVolume(tables: Tables, say: (line: string) => void): void {
  const record = tables.get('meta', IDENTITY_KEY)
  if (!record) throw new CorruptRecord('meta identity', 'there', 'missing')
  const { stream, shard, copyId } = decodeIdentity(record)
  const position = readPosition(tables)
  const { epoch, sequence } = currentOf(position)
  const { messages, recipients, deferred, contentBytes } = position.totals
  say(`stream ${stream} shard ${shard}, copy ${copyId}, epoch ${epoch}, last entry ${sequence}`)
  say(`${messages} messages of ${contentBytes} bytes, ${recipients} recipients still to be served, ${deferred} of them tried before`)
}

/** One line for each message at each destination, in the order of acceptance. */
async function list(tables: Tables, say: (line: string) => void): Promise<boolean> {
  let sound = tell(say, () => describeVolume(tables, say))
  say(formatRow(['QUEUE ID', 'ACCEPTED', 'BYTES', 'TRIED', 'NEXT ATTEMPT'], 'FROM > TO'))
  for await (const rows of slices(tables, 'deliveries', 100)) {
    for (const { key, value } of rows) {
      sound = tell(say, () => say(listLine(tables, readDeliveryKey(key), value))) && sound
    }
  }
  return sound
}

function listLine(tables: Tables, name: DeliveryName, record: Buffer): string {
  const row = decodeDeliveryRow(record, whereOf(name))
  const numbers = [name.queueId, formatTime(row.acceptedAt), String(row.sizeBytes), String(row.attempts), formatTime(row.dueAt)]
  const to = row.recipients.slice(0, MOST_NAMED).map(({ address }) => address)
  const more = row.recipients.length > MOST_NAMED ? ` and ${row.recipients.length - MOST_NAMED} more` : ''
  return formatRow(numbers, `<${senderOf(tables, name.queueId)}> > ${printable(to.join(' '))}${more}`)
}

const MOST_NAMED = 3

function senderOf(tables: Tables, queueId: QueueId): string {
  try {
    return printable(readRecord(tables, queueId)?.envelope.sender ?? '?')
  } catch (error) {
    if (error instanceof CorruptRecord) return '? (damaged)'
    throw error
  }
}

const formatRow = (cells: readonly string[], last: string): string =>
  [...cells.map((cell, at) => cell.padEnd([12, 20, 9, 5, 20][at] ?? 0)), last].join('  ')

async function verify(tables: Tables, say: (line: string) => void): Promise<boolean> {
  const head = tell(say, () => describeVolume(tables, say))
  let damage: CorruptRecord | undefined
  try {
    const { firstSequence, position, lanes } = await verifyQueue(tables, Infinity)
    say(`log ${firstSequence} to ${currentOf(position).sequence}, deliveries to ${lanes.size} destinations and schedule: sound`)
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error
    damage = error
    say(`damaged: ${error.message}; an agent refuses this volume`)
  }
  const onDamage = (_queueId: QueueId, found: CorruptRecord): void => say(`damaged: ${found.message}`)
  const { messages, contentBytes, damaged } = await scrubMessages(tables, new AbortController().signal, { onDamage })
  say(`${messages} messages of ${contentBytes} bytes were read, ${damaged} of them are damaged`)
  return head && damage === undefined && damaged === 0
}

function show(tables: Tables, queueId: QueueId, say: (line: string) => void): boolean {
  let message: MessageRecord | undefined
  const readable = tell(say, () => {
    message = readRecord(tables, queueId)
  })
  if (readable && message === undefined) {
    say(`${queueId} is not in this queue: it was delivered or returned, or it never was`)
    return false
  }
  if (message !== undefined) {
    const { envelope, acceptedAt, sizeBytes } = message
    say(`${queueId}, accepted ${formatTime(acceptedAt)}, ${sizeBytes} bytes, ${envelope.body}${envelope.smtpUtf8 ? ' SMTPUTF8' : ''}`)
    say(`from <${printable(envelope.sender)}> to ${envelope.recipients.length} recipients; still to be served:`)
  }
  let sound = readable
  for (const name of deliveriesOf(tables, queueId)) sound = tell(say, () => describeDelivery(name, readRow(tables, name), say)) && sound
  return tell(say, () => describeContent(tables, queueId, message, say)) && sound
}

function describeDelivery({ destination }: DeliveryName, row: DeliveryRow, say: (line: string) => void): void {
  say(`  at ${destination}: tried ${row.attempts} times, next attempt ${formatTime(row.dueAt)}`)
  for (const { address } of row.recipients) say(`    ${printable(address)}`)
}

/** The header; the text is nobody's business here. */
function describeContent(tables: Tables, queueId: QueueId, message: MessageRecord | undefined, say: (line: string) => void): void {
  const content = tables.get('bodies', queueIdKey(queueId))
  if (message === undefined) {
    say(`content: ${content === undefined ? 'missing' : `${content.length} bytes, which nothing vouches for`}`)
    return
  }
  const sound = checkContent(content, message, `bodies ${queueId}`)
  const end = sound.indexOf('\r\n\r\n')
  say('content: sound; its header:')
  for (const line of sound.toString('utf8', 0, end === -1 ? 0 : end).split('\r\n')) say(`  ${printable(line)}`)
}

function readRecord(tables: Tables, queueId: QueueId): MessageRecord | undefined {
  const record = tables.get('messages', queueIdKey(queueId))
  return record && decodeMessage(record, `messages ${queueId}`)
}

function readRow(tables: Tables, name: DeliveryName): DeliveryRow {
  const record = tables.get('deliveries', deliveryKey(name))
  if (!record) throw new CorruptRecord(whereOf(name), 'there', 'missing')
  return decodeDeliveryRow(record, whereOf(name))
}

const whereOf = ({ queueId, destination }: DeliveryName): string => `deliveries ${queueId} to ${destination}`

/** Damage becomes a line; whether there was none. */
function tell(say: (line: string) => void, look: () => void): boolean {
  try {
    look()
    return true
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error
    say(`damaged: ${error.message}`)
    return false
  }
}

const formatTime = (millis: number): string => `${new Date(millis).toISOString().slice(0, 19)}Z`

/** What a client wrote must not reach a terminal as commands. */
const printable = (text: string): string =>
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = (await inspect(parseInspection(process.argv.slice(2)), (line) => console.log(line))) ? 0 : 1
  } catch (error) {
    const hint = error instanceof DirectoryLocked ? '; an agent has this queue open: ask its /metrics, or stop it first' : ''
    console.error(`${error instanceof Error ? error.message : String(error)}${hint}`)
    process.exitCode = error instanceof RangeError ? 2 : 1
  }
}
