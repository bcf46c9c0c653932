import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { judgeReady } from './health.ts'
import { planReport, runReporting, type Report, type ReportFacts, type Written } from './report.ts'

const NOW = Date.parse('2026-11-24T12:00:00Z')
type Change = Partial<Omit<ReportFacts, 'activity'>> & { readonly activity?: Partial<ReportFacts['activity']> }

const facts = ({ activity, ...change }: Change = {}): ReportFacts => ({
  generation: 3,
  version: '0.1.0',
  restartNeeded: [],
  wantedAddresses: ['192.0.2.1'],
  presentAddresses: ['192.0.2.1'],
  usedAddresses: ['192.0.2.1'],
  unbindable: [],
  credentials: { status: 'True', reason: 'Loaded', message: 'fine' },
  storage: { directory: '/queue', freeBytes: 5 * 2 ** 20, volumeBytes: 100 * 2 ** 20, refusesMail: false, damagedMessages: 0 },
  ...change,
  activity: {
    mode: 'Run',
    stopping: false,
    room: 'room',
    totals: { messages: 0, recipients: 0, deferred: 0, contentBytes: 0 },
    receiving: 0,
    inFlight: 0,
    ...activity,
  },
})

function written(change: Change = {}, at = NOW): Written {
  const plan = planReport(undefined, facts(change), at)
  if (plan.kind !== 'write') throw new Error('the first report must be written')
  return { report: plan.report, at }
}
const conditionOf = (change: Change, type: string) => {
  const { status, reason, message } = written(change).report.conditions.find((condition) => condition.type === type)!
  return `${status} ${reason}: ${message}`
}
const queued = { messages: 2, recipients: 3, deferred: 1, contentBytes: 9, oldestAcceptedAt: NOW - 5_500 }

test('of managed addresses it says which are on the node, and says so at once when they come or go', () => {
  const two = ['192.0.2.2', '192.0.2.1']
  const managed = { tried: two, refused: [], fault: undefined }
  const before = written({ usedAddresses: two, wantedAddresses: two, presentAddresses: two, managed })
  expect(before.report.agent).toMatchObject({ addresses: ['192.0.2.1', '192.0.2.2'], attachedAddresses: ['192.0.2.1', '192.0.2.2'] })
  const plan = planReport(
    before,
    facts({ usedAddresses: two, wantedAddresses: two, presentAddresses: [], managed: { ...managed, tried: [] } }),
    NOW,
  )
  expect(plan.kind === 'write' && plan.report.agent).toMatchObject({ addresses: ['192.0.2.1', '192.0.2.2'], attachedAddresses: [] })
  expect(written({}).report.agent).not.toHaveProperty('attachedAddresses')
})

test('the first report says everything', () => {
  const condition = (type: string, status: string, reason: string, message: string) => ({
    type,
    status,
    reason,
    message,
    observedGeneration: 3,
    lastTransitionTime: '2026-11-24T12:00:00Z',
  })
  expect(written({ activity: { totals: queued } }).report).toEqual({
    agent: {
      observedGeneration: 3,
      addresses: ['192.0.2.1'],
      queue: { messages: 2, recipients: 3, deferred: 1 },
      oldestTime: '2026-11-24T11:59:54Z',
      version: '0.1.0',
    },
    conditions: [
      condition('Accepting', 'True', 'Accepting', 'mail is accepted'),
      condition('AddressesPresent', 'True', 'Present', 'every source address is on an interface of this node'),
      condition('CredentialsLoaded', 'True', 'Loaded', 'fine'),
      condition('Delivering', 'True', 'Delivering', 'mail is delivered'),
      condition('Drained', 'False', 'NotDraining', 'mode is Run'),
      condition('StorageAvailable', 'True', 'Room', 'the queue volume has room'),
    ],
  })
})

const standby = { member: { gate: 'Standby', isFollowing: true } } as const

test.each([
  ['Accepting', 'False Standby: another instance of the shard accepts and delivers; this one keeps a copy'],
  ['Delivering', 'False Standby: another instance of the shard delivers; this one keeps a copy'],
  ['Drained', 'True QueueEmpty: nothing is queued and nothing is accepted'],
])('a standby that drains says of %s what is so', (type, said) => {
  expect(conditionOf({ activity: { ...standby, mode: 'Drain' } }, type)).toBe(said)
})

test('a standby is ready while it follows', () => {
  const ready = (isFollowing: boolean) => judgeReady(facts({ activity: { member: { gate: 'Standby', isFollowing } } }).activity).reason
  expect([ready(true), ready(false), judgeReady(facts().activity).reason]).toEqual(['Following', 'NotFollowing', 'Accepting'])
})

test('another role is told at once, a longer log within ten seconds', () => {
  const replication = { copyId: 'c', incarnation: 'i', role: 'Standby', epoch: 3, lastSequence: 10 } as const
  const before = written({ replication })
  expect(planReport(before, facts({ replication: { ...replication, role: 'Primary' } }), NOW + 1).kind).toBe('write')
  expect(planReport(before, facts({ replication: { ...replication, lastSequence: 11 } }), NOW + 1)).toEqual({
    kind: 'wait',
    until: NOW + 10_000,
  })
  expect(planReport(before, facts({ replication }), NOW + 1)).toEqual({ kind: 'nothing' })
})

describe('conditions', () => {
  test.each([
    ['Accepting', { activity: { mode: 'Hold' } }, 'False Held: mode is Hold: no mail is accepted'],
    ['Accepting', { activity: { mode: 'Drain' } }, 'False Draining: mode is Drain: no mail is accepted'],
    ['Accepting', { activity: { stopping: true } }, 'False Stopping: the process is stopping'],
    [
      'Accepting',
      { restartNeeded: ['spec.ports'] },
      'True Accepting: mail is accepted; another process is needed for the changed spec.ports',
    ],
    ['StorageAvailable', { activity: { room: 'full' } }, 'False VolumeFull: /queue must have room for messages: 5 MiB of 100 MiB are free'],
    [
      'StorageAvailable',
      { storage: { directory: '/queue', freeBytes: 3 * 2 ** 20, volumeBytes: 9 * 2 ** 20, refusesMail: true, damagedMessages: 0 } },
      'False VolumeFull: /queue must have room for messages: 3 MiB of 9 MiB are free',
    ],
    [
      'StorageAvailable',
      { storage: { directory: '/queue', freeBytes: 1, volumeBytes: 2, refusesMail: false, damagedMessages: 2 } },
      'True MailDamaged: 2 messages on /queue were damaged: the log of the agent names them, docs/queue.md says what to do',
    ],
    ['Delivering', { activity: { mode: 'Drain' } }, 'True Delivering: mail is delivered'],
    ['Delivering', { activity: { mode: 'Hold' } }, 'False Held: mode is Hold: nothing is delivered'],
    ['Delivering', { presentAddresses: [] }, 'False NoAddress: none of the source addresses can be bound to on this node; mail waits'],
    ['AddressesPresent', { presentAddresses: [] }, 'False AddressesMissing: must be on an interface of this node, are not: 192.0.2.1'],
    [
      'AddressesPresent',
      { unbindable: [{ address: '192.0.2.1', code: 'EADDRNOTAVAIL' }] },
      'False AddressesUnusable: cannot be bound to: 192.0.2.1 (EADDRNOTAVAIL)',
    ],
    [
      'AddressesPresent',
      { presentAddresses: [], managed: { tried: [], refused: [], fault: undefined } },
      'True NotDue: the source addresses are attached when this instance may deliver, and not before',
    ],
    [
      'AddressesPresent',
      {
        wantedAddresses: ['192.0.2.1', '192.0.2.2'],
        managed: {
          tried: ['192.0.2.1', '192.0.2.2'],
          refused: [{ address: '192.0.2.2', reason: 'InUse', message: '02:00:00:00:00:01 answers for it' }],
          fault: undefined,
        },
      },
      'False AddressesMissing: must be on an interface of this node, are not: 192.0.2.2 (InUse: 02:00:00:00:00:01 answers for it)',
    ],
    [
      'AddressesPresent',
      { presentAddresses: [], managed: { tried: ['192.0.2.1'], refused: [], fault: 'the address holder ended the connection' } },
      'False AddressesMissing: must be on an interface of this node, are not: 192.0.2.1 (the address holder ended the connection)',
    ],
    [
      'AddressesPresent',
      { wantedAddresses: ['192.0.2.1', '192.0.2.2'], managed: { tried: ['192.0.2.1'], refused: [], fault: undefined } },
      'True NotDue: the source addresses are attached when this instance may deliver, and not before',
    ],
    ['Drained', { activity: { mode: 'Drain' } }, 'True QueueEmpty: nothing is queued and nothing is accepted'],
    ['Drained', { activity: { mode: 'Drain', totals: queued } }, 'False Draining: messages are still queued'],
    ['Drained', { activity: { mode: 'Drain', inFlight: 1 } }, 'False Draining: messages are still queued'],
    ['Drained', { activity: { mode: 'Drain', receiving: 1 } }, 'False Draining: messages are still being received'],
    ['Drained', { activity: { mode: 'Hold' } }, 'False NotDraining: mode is Hold'],
  ] satisfies [string, Change, string][])('%s, given %o', (type, change, want) => {
    expect(conditionOf(change, type)).toBe(want)
  })
})

describe('when to write', () => {
  const plan = (before: Written, change: Change, afterMillis: number) => planReport(before, facts(change), before.at + afterMillis)

  test('nothing at rest, for ever', () => {
    expect(plan(written(), {}, 1e12)).toEqual({ kind: 'nothing' })
  })
  test('a change of meaning at once, whatever was written just now', () => {
    expect(plan(written(), { activity: { mode: 'Hold' } }, 1).kind).toBe('write')
    expect(plan(written(), { generation: 4 }, 1).kind).toBe('write')
    expect(plan(written(), { usedAddresses: [] }, 1).kind).toBe('write')
  })
  test('numbers once in 10 seconds', () => {
    expect(plan(written(), { activity: { totals: queued } }, 9_999)).toEqual({ kind: 'wait', until: NOW + 10_000 })
    expect(plan(written(), { activity: { totals: queued } }, 10_000).kind).toBe('write')
  })
  test('a condition that keeps its status keeps its time, also over a restart of the process', () => {
    const { conditions } = written().report
    const next = planReport(undefined, facts({ activity: { mode: 'Hold' } }), NOW + 60_000, conditions)
    const times =
      next.kind === 'write' ? next.report.conditions.map(({ type, lastTransitionTime }) => [type, lastTransitionTime.slice(11, 19)]) : []
    expect(times).toEqual([
      ['Accepting', '12:01:00'],
      ['AddressesPresent', '12:00:00'],
      ['CredentialsLoaded', '12:00:00'],
      ['Delivering', '12:01:00'],
      ['Drained', '12:00:00'],
      ['StorageAvailable', '12:00:00'],
    ])
  })
  test('what was just written is never written again', () => {
    const change = fc.record({
      activity: fc.record({
        mode: fc.constantFrom('Run', 'Hold', 'Drain' as const),
        room: fc.constantFrom('room', 'full' as const),
        stopping: fc.boolean(),
        inFlight: fc.nat(3),
      }),
      presentAddresses: fc.subarray(['192.0.2.1']),
      usedAddresses: fc.subarray(['192.0.2.1', '192.0.2.2']),
    })
    fc.assert(
      fc.property(change, fc.nat(), (given, later) => {
        expect(planReport(written(given), facts(given), NOW + later)).toEqual({ kind: 'nothing' })
      }),
    )
  })
})

test('an outage keeps nothing up: the newest report is written when it can be, with longer pauses meanwhile', async () => {
  const end = new AbortController()
  const waits: number[] = []
  const reports: Report[] = []
  let now = NOW
  let reachable = false
  await runReporting(
    {
      facts: () => facts({ activity: { totals: { ...queued, messages: waits.length } } }),
      write: async (report) => {
        if (!reachable) throw new Error('refused')
        reports.push(report)
      },
      clock: () => now,
      sleep: async (millis) => {
        waits.push(millis)
        now += millis
        reachable = waits.length >= 6
        if (waits.length === 7) end.abort()
      },
      onFailure: () => {},
      conditions: undefined,
    },
    end.signal,
  )
  expect(waits).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 2_000])
  expect(reports.map(({ agent }) => agent.queue?.messages)).toEqual([6])
})
