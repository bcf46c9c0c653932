import { expect, test } from 'vitest'
import { message, settings } from '#test/builders/delivery.ts'
import { recipient } from '#test/builders/queue.ts'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Domain, Recipient } from '../domain/envelope.ts'
import { formatQueueId } from '../domain/queue-id.ts'
import type { RecipientEnd } from './attempt.ts'
import { concludeAttempt, type ConclusionInput } from './conclude.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const delivered: DeliveryOutcome = { kind: 'delivered', reply: { code: 250, enhanced: '2.0.0', text: 'Ok' } }
const deferred: DeliveryOutcome = { kind: 'deferred', scope: 'recipient', reply: { code: 452, enhanced: '4.2.2', text: 'Mailbox full' } }
const bounced: DeliveryOutcome = { kind: 'bounced', because: 'Refused', reply: { code: 550, enhanced: '5.1.1', text: 'No such user' } }
const host = { name: 'mx.example.com', address: '192.0.2.1', family: 4, port: 25 } as const

type Given = { readonly outcome: DeliveryOutcome; readonly reports?: boolean; readonly notify?: Recipient['notify'] }

/** One recipient for each outcome. */
function conclude(
  given: readonly Given[],
  rest: {
    readonly sender?: string
    readonly attempts?: number
    readonly age?: number
    readonly queue?: ConclusionInput['settings']['queue']
  } = {},
) {
  const acceptedAt = NOW - (rest.age ?? 0)
  const to = given.map(({ notify }, at) => recipient(`user${at}@example.com`, notify === undefined ? {} : { notify }))
  const { envelope, content } = message(to, { sender: rest.sender ?? 'sender@bücher.example' })
  const queueId = formatQueueId({ epoch: 1, sequence: 7 })
  const facts = { queueId, acceptedAt, sizeBytes: content.length }
  return concludeAttempt({
    delivery: {
      ...facts,
      destination: 'example.com' as Domain,
      recipients: to.map((one, index) => ({ ...one, index })),
      attempts: rest.attempts ?? 0,
      dueAt: NOW,
    },
    message: { ...facts, envelope },
    ends: new Map(
      given.map(({ outcome, reports }, index): [number, RecipientEnd] => [index, { outcome, host, reports: reports ?? false }]),
    ),
    settings: settings(undefined, rest.queue === undefined ? {} : { queue: rest.queue }),
    reportingHost: 'out.example.org',
    now: NOW,
    random: () => 0.5,
    readContent: () => content,
  })
}

const actionsOf = (conclusion: ReturnType<typeof conclude>): string[] =>
  [...(conclusion.report?.content.toString() ?? '').matchAll(/^Final-Recipient: rfc822; (\S+)\r\nAction: (\w+)\r\nStatus: (\S+)/gm)].map(
    (match) => match.slice(1).join(' '),
  )

test('a deferral is due again by the ladder, with no report', () => {
  const { result, report } = conclude([{ outcome: delivered }, { outcome: deferred }])
  expect(result).toEqual({
    queueId: '1-7',
    destination: 'example.com',
    at: NOW,
    outcomes: [
      { index: 0, outcome: delivered },
      { index: 1, outcome: deferred },
    ],
    nextAttemptAt: NOW + 300_000,
  })
  expect(report).toBeUndefined()
})

test('without a deferral nothing is due again', () => {
  expect(conclude([{ outcome: delivered }, { outcome: bounced }]).result).not.toHaveProperty('nextAttemptAt')
})

test('a bounce is reported to the sender, from the null sender, so that the report of a report cannot be', () => {
  const { report } = conclude([{ outcome: bounced }])
  expect(report?.envelope).toEqual({
    sender: '',
    recipients: [{ address: 'sender@bücher.example', domain: 'xn--bcher-kva.example', notify: ['NEVER'] }],
    body: '8BITMIME',
    smtpUtf8: true,
  })
  expect(conclude([{ outcome: bounced }], { sender: '' }).report).toBeUndefined()
})

test('one report for all that bounced in the attempt', () => {
  expect(actionsOf(conclude([{ outcome: bounced }, { outcome: delivered }, { outcome: bounced }], { sender: 'a@example.org' }))).toEqual([
    'user0@example.com failed 5.1.1',
    'user2@example.com failed 5.1.1',
  ])
})

test('too old: what is still deferred is given up, with the last reply as the reason', () => {
  const conclusion = conclude([{ outcome: deferred }, { outcome: delivered }], { sender: 'a@example.org', age: 432_000_000 })
  const text = 'not delivered within 432000 seconds; the last attempt ended with: 452 4.2.2 Mailbox full'
  expect(conclusion.result.outcomes).toEqual([
    { index: 0, outcome: { kind: 'bounced', because: 'Expired', reply: { code: 452, enhanced: '4.4.7', text } } },
    { index: 1, outcome: delivered },
  ])
  expect(actionsOf(conclusion)).toEqual(['user0@example.com failed 4.4.7'])
})

test.each<[notify: Recipient['notify'], outcome: DeliveryOutcome, reports: boolean, wanted: string[]]>([
  [['NEVER'], bounced, false, []],
  [['SUCCESS'], bounced, false, []],
  [['FAILURE', 'SUCCESS'], bounced, false, ['user0@example.com failed 5.1.1']],
  [['SUCCESS'], delivered, false, ['user0@example.com relayed 2.0.0']],
  [['SUCCESS'], delivered, true, []],
  [undefined, delivered, false, []],
])('NOTIFY=%s, %o, host reports %s', (notify, outcome, reports, wanted) => {
  expect(actionsOf(conclude([{ outcome, reports, ...(notify === undefined ? {} : { notify }) }], { sender: 'a@example.org' }))).toEqual(
    wanted,
  )
})

test('a sender who asked for DELAY hears once, at the first attempt after four hours', () => {
  const queue = { retrySeconds: [3600, 7200], maxAgeSeconds: 432_000 }
  const told = [0, 1, 2, 3, 4].filter((attempts) => {
    const conclusion = conclude([{ outcome: deferred, notify: ['DELAY'] }], {
      sender: 'a@example.org',
      attempts,
      age: attempts * HOUR,
      queue,
    })
    return actionsOf(conclusion).join() === 'user0@example.com delayed 4.2.2'
  })
  expect(told).toEqual([3])
})
