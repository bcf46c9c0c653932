import { expect, test } from 'vitest'
import type { AgentState, RoleEvent } from '../agent-state.ts'
import type { ShardRecord } from '../record.ts'
import { startAgent, step } from '../role.ts'
import { DEFAULT_TIMERS as timers } from '../timers.ts'
import { type ChangeLog, logChange, startChangeLog } from './last-change.ts'

const a = { instance: 'a', copy: 'a1' }
const b = { instance: 'b', copy: 'b1' }
const WALL = 1_000_000_000
const record: ShardRecord = { version: '7', holder: { instance: 'a', incarnation: 'ai' }, epoch: 4, inSync: [a, b], forcedEpoch: 0 }
const won: ShardRecord = { version: '8', holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b], forcedEpoch: 0 }

const play = (...events: readonly RoleEvent[]): ChangeLog => playOn(true, ...events)

function playOn(complete: boolean, ...events: readonly RoleEvent[]): ChangeLog {
  let state: AgentState = startAgent({
    self: { ...b, incarnation: 'bi' },
    timers,
    durability: 'Available',
    disk: { seen: 4, complete, quickClaimAt: 0 },
    at: 0,
  })
  let log = startChangeLog(0)
  for (const event of events) {
    const { state: after, effects } = step(state, event)
    log = logChange(log, { before: state, event, after, effects, wall: WALL + event.at })
    state = after
  }
  return log
}

const tick = (at: number): RoleEvent => ({ kind: 'tick', at, stalledFor: 0 })
const read = (at: number, call: number, shown: ShardRecord): RoleEvent => ({ kind: 'read', at, wall: WALL + at, call, record: shown })
/** The claim was sent at `at`, as call 2; it is won and acts 60 ms later. */
const win = (at: number, shown: ShardRecord = won): readonly RoleEvent[] => [
  { kind: 'callEnded', at: at + 20, call: 2 },
  read(at + 40, 3, shown),
  { kind: 'seenStored', at: at + 50, epoch: 5 },
  tick(at + 60),
]
const follow: RoleEvent = { kind: 'following', at: 100, epoch: 4, complete: true }
const beacon = (at: number): RoleEvent => ({ kind: 'beacon', at, epoch: 4, number: 1 })

test('a primary that fell silent: the shard had nobody since its last beacon', () => {
  const log = play(follow, beacon(2_000), tick(8_000), read(8_010, 1, record), ...win(8_010))
  expect(log.last).toEqual({ reason: 'PrimaryLost', at: WALL + 8_060, durationMillis: 6_060 })
})

test('a primary that handed over', () => {
  const log = play(
    follow,
    beacon(2_000),
    { kind: 'over', at: 2_100, epoch: 4 },
    read(2_110, 1, record),
    ...win(2_110, { ...won, inSync: [b] }),
  )
  expect(log.last).toEqual({ reason: 'Switchover', at: WALL + 2_160, durationMillis: 60 })
})

test('an earlier process of this instance', () => {
  const own = { ...record, holder: { instance: 'b', incarnation: 'before' }, inSync: [b] }
  expect(play(tick(10), read(20, 1, own), ...win(20)).last).toEqual({ reason: 'Restarted', at: WALL + 70, durationMillis: 70 })
})

test.each([
  [true, 'Complete'],
  [false, 'Incomplete'],
] as const)('by force, of a copy that is complete: %s', (complete, copy) => {
  const force: RoleEvent = { kind: 'force', at: 10, force: { version: '7', incompleteToo: !complete } }
  const out = { ...record, inSync: [a] }
  const log = playOn(complete, force, tick(6_000), read(6_010, 1, out), ...win(6_010, { ...won, forcedEpoch: 5 }))
  expect(log.last).toEqual({ reason: 'Forced', copy, at: WALL + 6_060, durationMillis: 6_060 })
})

test('one that has won acts only when a third copy has promised', () => {
  const c = { instance: 'c', copy: 'c1' }
  const three = { ...record, inSync: [a, b, c] }
  const events = [follow, beacon(2_000), tick(8_000), read(8_010, 1, three), ...win(8_010, { ...won, inSync: [b, c] })]
  expect(play(...events).last).toBeUndefined()
  const promised: readonly RoleEvent[] = [
    { kind: 'followed', at: 8_300, copy: c },
    { kind: 'promised', at: 8_400, copy: c, number: 1 },
  ]
  expect(play(...events, ...promised).last).toEqual({ reason: 'PrimaryLost', at: WALL + 8_400, durationMillis: 6_400 })
})

test('a claim that lost is forgotten', () => {
  const log = play(follow, beacon(2_000), tick(8_000), read(8_010, 1, record), ...win(8_010, { ...won, holder: record.holder }))
  expect([log.last, log.coming]).toEqual([undefined, undefined])
})
