import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LinkFault } from '../log-link/frames.ts'
import { type BeaconMessage, commonVersion, decodeBeaconMessage, encodeBeaconMessage } from './beacon-messages.ts'

const name = fc.string({ minLength: 1, maxLength: 60 })
const number = fc.nat({ max: 2 ** 48 - 1 })
const message: fc.Arbitrary<BeaconMessage> = fc.oneof(
  fc.record({
    kind: fc.constant('follow' as const),
    versions: fc.record({ least: fc.nat(), most: fc.nat() }),
    shard: name,
    copy: name,
    incarnation: name,
  }),
  fc.record({ kind: fc.constant('welcome' as const), version: fc.nat(), incarnation: name, token: name, forcedEpoch: fc.nat() }),
  fc.record({ kind: fc.constant('refused' as const), because: fc.constantFrom('NotPrimary', 'Behind', 'OtherShard'), text: fc.string() }),
  fc.record({ kind: fc.constantFrom('beacon' as const, 'promise' as const, 'heard' as const), number }),
  fc.record({ kind: fc.constant('over' as const), last: number }),
  fc.constant({ kind: 'leaving' as const }),
)

const framed = (sent: BeaconMessage) => {
  const { type, parts } = encodeBeaconMessage(sent)
  return { type, payload: Buffer.concat(parts) }
}

test('what is said is what is heard', () => {
  fc.assert(
    fc.property(message, (sent) => {
      expect(decodeBeaconMessage(framed(sent))).toEqual(sent)
    }),
  )
})

test.each([
  { what: 'an unknown type', frame: { type: 99, payload: Buffer.alloc(0) }, says: 'a frame must be of a known type, was of 99' },
  { what: 'half a number', frame: { type: 4, payload: Buffer.alloc(3) }, says: 'a beacon must be of 6 bytes, was of 3' },
  { what: 'a word that is no JSON', frame: { type: 1, payload: Buffer.from('{') }, says: 'a follow must be JSON, was not' },
  {
    what: 'a follow without a copy',
    frame: { type: 1, payload: Buffer.from('{"versions":{"least":1,"most":1},"shard":"s","copy":"","incarnation":"i"}') },
    says: 'a follow must be well formed, was not: copy',
  },
])('$what is no message', ({ frame, says }) => {
  expect(() => decodeBeaconMessage(frame)).toThrow(LinkFault)
  expect(() => decodeBeaconMessage(frame)).toThrow(says)
})

test.each([
  { theirs: { least: 1, most: 1 }, want: 1 },
  { theirs: { least: 1, most: 7 }, want: 1 },
  { theirs: { least: 2, most: 7 }, want: undefined },
])('with a peer of versions $theirs.least to $theirs.most version $want is spoken', ({ theirs, want }) => {
  expect(commonVersion(theirs)).toBe(want)
})
