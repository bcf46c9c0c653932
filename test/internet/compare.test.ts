import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Arrival } from './arrival.ts'
import { compare, type Comparison, type Submitted } from './compare.ts'

const submitted = (change: Partial<Submitted> = {}): Submitted => ({
  messageId: '<1@c>',
  recipients: ['a@x.example'],
  bodyHash: 'hash',
  ambiguousAttempts: 0,
  ...change,
})
const arrival = (change: Partial<Omit<Arrival, 'recipients'>> & { recipients?: readonly string[] } = {}): Arrival => ({
  provider: 'x',
  at: '2026-01-01T00:00:00.000Z',
  outcome: 'arrived',
  reply: '250 ok',
  session: 1,
  transaction: 1,
  sourceAddress: '192.0.2.11',
  host: '198.51.100.11',
  hello: 'mta-11.senders.example',
  tls: null,
  sender: 's@senders.example',
  senderParameters: [],
  refusedRecipients: [],
  messageId: '<1@c>',
  size: 10,
  contentHash: 'whole',
  bodyHash: 'hash',
  ...change,
  recipients: (change.recipients ?? ['a@x.example']).map((address) => ({ address, parameters: [] })),
})
const CLEAN: Comparison = {
  messages: 1,
  recipients: 1,
  arrived: 1,
  lost: [],
  duplicated: [],
  resubmitted: [],
  altered: [],
  unexpected: [],
  wrongSource: [],
  complete: true,
}
const delivery = { messageId: '<1@c>', recipient: 'a@x.example' }
const sources = { '192.0.2.11': 'mta-11.senders.example' }

test.each<[string, Parameters<typeof compare>, Partial<Comparison>]>([
  ['one accepted, one arrived', [{ accepted: [submitted()], sources }, [arrival()]], {}],
  ['a missing message is lost', [{ accepted: [submitted()] }, []], { arrived: 0, lost: [delivery], complete: false }],
  [
    'what only hung after the dot is lost',
    [{ accepted: [submitted()] }, [arrival({ outcome: 'hungAfterDot' })]],
    { arrived: 0, lost: [delivery], complete: false },
  ],
  [
    'a second copy is a duplicate',
    [{ accepted: [submitted()] }, [arrival(), arrival()]],
    { duplicated: [{ ...delivery, extraCopies: 1 }] },
  ],
  [
    'a second copy after an ambiguous attempt is a resubmission, a third a duplicate',
    [{ accepted: [submitted({ ambiguousAttempts: 1 })] }, [arrival(), arrival(), arrival()]],
    { resubmitted: [{ ...delivery, extraCopies: 1 }], duplicated: [{ ...delivery, extraCopies: 1 }] },
  ],
  [
    'another body is altered',
    [{ accepted: [submitted()] }, [arrival({ bodyHash: 'other' })]],
    { altered: [{ ...delivery, provider: 'x' }], complete: false },
  ],
  [
    'a message that nobody sent is unexpected',
    [{ accepted: [] }, [arrival()]],
    { messages: 0, recipients: 0, arrived: 0, unexpected: [{ ...delivery, provider: 'x' }], complete: false },
  ],
  [
    'a recipient that the message was not sent to is unexpected',
    [{ accepted: [submitted()] }, [arrival({ recipients: ['a@x.example', 'b@x.example'] })]],
    { unexpected: [{ messageId: '<1@c>', recipient: 'b@x.example', provider: 'x' }], complete: false },
  ],
  [
    'an uncertain message may arrive',
    [{ accepted: [], uncertain: [submitted()] }, [arrival()]],
    { messages: 0, recipients: 0, arrived: 0 },
  ],
  ['an uncertain message may not arrive', [{ accepted: [], uncertain: [submitted()] }, []], { messages: 0, recipients: 0, arrived: 0 }],
  [
    'a recipient refused for good is not lost',
    [{ accepted: [submitted()], refusedForGood: (recipient) => recipient.startsWith('a@') }, []],
    { recipients: 0, arrived: 0 },
  ],
  [
    'another source address or another name is wrong',
    [{ accepted: [submitted()], sources }, [arrival({ hello: 'localhost' })]],
    { wrongSource: [{ ...delivery, sourceAddress: '192.0.2.11', hello: 'localhost' }], complete: false },
  ],
  ['domains are compared in any case', [{ accepted: [submitted({ recipients: ['a@X.Example'] })] }, [arrival()]], {}],
])('%s', (_name, [expectation, arrivals], difference) => {
  expect(compare(expectation, arrivals)).toEqual({ ...CLEAN, ...difference })
})

test('every recipient is either arrived or lost, and copies beyond the first are all accounted for', () => {
  const message = fc.record({ id: fc.nat(5), copies: fc.nat(3), ambiguousAttempts: fc.nat(2) })
  fc.assert(
    fc.property(fc.uniqueArray(message, { selector: ({ id }) => id }), (messages) => {
      const accepted = messages.map(({ id, ambiguousAttempts }) => submitted({ messageId: `<${id}@c>`, ambiguousAttempts }))
      const arrivals = messages.flatMap(({ id, copies }) => Array.from({ length: copies }, () => arrival({ messageId: `<${id}@c>` })))
      const found = compare({ accepted }, arrivals)
      const extra = [...found.duplicated, ...found.resubmitted].reduce((sum, { extraCopies }) => sum + extraCopies, 0)
      expect(found.arrived + found.lost.length).toBe(messages.length)
      expect(extra).toBe(messages.reduce((sum, { copies }) => sum + Math.max(0, copies - 1), 0))
    }),
  )
})
