import { duplexPair, Readable, type Duplex } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Domain } from '#agent/domain/envelope.ts'
import { formatQueueId } from '#agent/domain/queue-id.ts'
import { readFrames, writeFrame } from './frames.ts'
import { Link } from './link.ts'
import { commonVersion, encodeMessage, type Message } from './messages.ts'

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
const whole = fc.nat(2 ** 31 - 1)
const table = fc.constantFrom(
  [],
  [{ epoch: 1, last: 7, takenBack: 0 }],
  [
    { epoch: 1, last: 7, takenBack: 0 },
    { epoch: 3, last: 9, takenBack: 8 },
  ],
)
const queueId = fc
  .tuple(fc.integer({ min: 1, max: 9_999 }), fc.integer({ min: 1, max: 9_999_999 }))
  .map(([epoch, sequence]) => formatQueueId({ epoch, sequence }))
const domain = fc.constantFrom('one.example' as Domain, 'xn--bcher-kva.example' as Domain)
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    kind: fc.constant('named' as const),
    messages: fc.array(
      fc.record({ queueId, record: bytes, deliveries: fc.array(fc.record({ destination: domain, row: bytes }), { maxLength: 3 }) }),
      { maxLength: 5 },
    ),
  }),
  fc.record({ kind: fc.constant('wanted' as const), queueIds: fc.array(queueId) }),
  fc.record({
    kind: fc.constant('contents' as const),
    contents: fc.array(fc.record({ queueId, content: fc.option(bytes, { nil: undefined }) }), { maxLength: 5 }),
  }),
  fc.constant({ kind: 'copied' as const }),
  fc.record({ kind: fc.constant('offer' as const), from: whole, message: fc.record({ queueId, record: bytes, content: bytes }) }),
  fc.record({ kind: fc.constant('notTaken' as const), queueId, text: fc.string() }),
  fc.record({
    kind: fc.constant('hello' as const),
    versions: fc.record({ least: whole, most: whole }),
    token: fc.string({ minLength: 1 }),
    table,
    complete: fc.boolean(),
    cutsTo: whole,
    aside: whole,
  }),
  fc.record({
    kind: fc.constant('start' as const),
    version: whole,
    table,
    forcedEpoch: whole,
    with: fc.oneof(
      fc.record({ kind: fc.constant('entries' as const), from: whole }),
      fc.record({
        kind: fc.constant('fullCopy' as const),
        sequence: whole,
        totals: fc.record({ messages: whole, recipients: whole, deferred: whole, contentBytes: whole }),
        handled: fc.record({ accepted: whole, delivered: whole, bounced: whole, deferred: whole }),
        notes: fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 3 }),
      }),
    ),
  }),
  fc.record({ kind: fc.constant('refused' as const), because: fc.constant('UnknownToken' as const), text: fc.string() }),
  fc.record({ kind: fc.constant('confirm' as const), sequence: whole, complete: fc.boolean() }),
  fc
    .record({
      committed: whole,
      from: whole,
      pieces: fc.array(fc.record({ record: bytes, content: fc.option(bytes, { nil: undefined }) })),
    })
    .map(({ committed, from, pieces }) => ({
      kind: 'entries' as const,
      committed,
      entries: pieces.map(({ record, content }, index) => ({ sequence: from + index, record, ...(content && { content }) })),
    })),
)

async function wireOf(messages: readonly Message[], epoch = 5): Promise<Buffer> {
  const [near, far] = duplexPair()
  for (const one of messages) writeFrame(near, { epoch, ...encodeMessage(one) })
  near.end()
  return Buffer.concat(await far.toArray())
}

/** A connection that says these chunks and then ends. */
const saying = (...chunks: readonly Uint8Array[]): Duplex => Readable.from(chunks, { objectMode: false }) as unknown as Duplex

async function readAll(connection: Duplex, epoch = 5): Promise<readonly Message[]> {
  const link = new Link(connection)
  const read: Message[] = []
  for (let one = await link.next(epoch); one; one = await link.next(epoch)) read.push(one)
  return read
}

test('what was said is what is heard, however it is cut on the way', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      async (messages, sizes) => {
        const wire = await wireOf(messages)
        const chunks: Buffer[] = []
        for (let at = 0, nth = 0; at < wire.length; nth++) chunks.push(wire.subarray(at, (at += sizes[nth % sizes.length]!)))
        expect(await readAll(saying(...chunks))).toEqual(messages)
      },
    ),
    { numRuns: 200 },
  )
})

test('a link that ends within a frame is a fault, at any byte; between two it has ended', async () => {
  const confirm = { kind: 'confirm', sequence: 9, complete: true } as const
  const wire = await wireOf([confirm, confirm])
  const frameBytes = wire.length / 2
  const heard = await Promise.all(
    Array.from({ length: wire.length }, (_, end) => readAll(saying(...(end > 0 ? [wire.subarray(0, end)] : []))).catch(textOf)),
  )
  expect(heard).toEqual(
    heard.map((_, end) =>
      end % frameBytes === 0
        ? Array.from({ length: end / frameBytes }, () => confirm)
        : `LinkFault: the link must end with a whole frame, was ended within one after ${end % frameBytes} bytes`,
    ),
  )
})

test('bytes that are no message are a fault, and never anything else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 14 }), bytes, async (type, payload) => {
      const [near, far] = duplexPair()
      writeFrame(near, { type, epoch: 5, parts: [payload] })
      near.end()
      const heard = await readAll(far).catch(textOf)
      expect(typeof heard === 'string' ? heard : 'a message').toMatch(/^(LinkFault: |a message$)/)
    }),
    { numRuns: 500 },
  )
})

const textOf = (error: unknown): string => String(error)

test.each([
  ['of another epoch', () => wireOf([{ kind: 'confirm', sequence: 1, complete: true }], 4), 'a confirm must be of epoch 5, was of 4'],
  ['of an unknown type', () => Promise.resolve(Buffer.from([0, 0, 0, 5, 99, 0, 0, 0, 5])), 'a frame must be of a known type, was of 99'],
  ['too short', () => Promise.resolve(Buffer.from([0, 0, 0, 4, 1, 2, 3, 4])), 'a frame must be of 5 to 2147483648 bytes, was of 4'],
  ['too long', () => Promise.resolve(Buffer.from([255, 0, 0, 0])), 'a frame must be of 5 to 2147483648 bytes, was of 4278190080'],
])('a message %s ends the link with what must be and what was', async (_, wire, text) => {
  await expect(readAll(saying(await wire()))).rejects.toThrow(text)
})

test('a frame is not waited for beyond what the reader allows', async () => {
  const wire = await wireOf([{ kind: 'refused', because: 'OtherEpoch', text: 'x'.repeat(100) }])
  await expect(readFrames(saying(wire.subarray(0, 20)), 50).next()).rejects.toThrow('a frame must be of 5 to 50 bytes')
})

test.each([
  { least: 1, most: 1, version: 1 },
  { least: 1, most: 7, version: 1 },
  { least: 2, most: 3, version: undefined },
])('of versions $least to $most, $version is spoken', ({ version, ...theirs }) => {
  expect(commonVersion(theirs)).toBe(version)
})
