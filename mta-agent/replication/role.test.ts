import { describe, expect, test } from 'vitest'
import type { AgentState, EventOf, NoRecord, RoleEffect, RoleEvent, Step } from './agent-state.ts'
import { LOOK_EVERY } from './primary.ts'
import type { ShardRecord } from './record.ts'
import { acknowledges, addressLifetime, committed, judgeAccept, mayAct, mayStart, needed, startAgent, step } from './role.ts'
import { DEFAULT_TIMERS as timers } from './timers.ts'

/** Agent b, started at 0 on a disk that has followed epoch 4 of a. */
const a = { instance: 'a', copy: 'a1' }
const b = { instance: 'b', copy: 'b1' }
const c = { instance: 'c', copy: 'c1' }
const WALL = 1_000_000_000
const record: ShardRecord = { version: '7', holder: { instance: 'a', incarnation: 'ai' }, epoch: 4, inSync: [a, b], forcedEpoch: 0 }
const won: ShardRecord = { version: '8', holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b], forcedEpoch: 0 }
const fresh = startAgent({
  self: { ...b, incarnation: 'bi' },
  timers,
  durability: 'Available',
  disk: { seen: 4, complete: true, quickClaimAt: 0 },
  at: 0,
})

function play(state: AgentState, ...events: readonly RoleEvent[]): Step {
  let now: Step = { state, effects: [] }
  for (const event of events) now = step(now.state, event)
  return now
}
const effectsOf = (state: AgentState, ...events: readonly RoleEvent[]): readonly RoleEffect[] => play(state, ...events).effects
const tick = (at: number): EventOf<'tick'> => ({ kind: 'tick', at, stalledFor: 0 })
const read = (at: number, call: number, shown: ShardRecord | NoRecord): EventOf<'read'> => ({
  kind: 'read',
  at,
  wall: WALL + at,
  call,
  record: shown,
})
const claimWrite = (inSync: ShardRecord['inSync']) => ({
  kind: 'write',
  call: 2,
  base: '7',
  content: { holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync, forcedEpoch: 0 },
})

describe('a standby', () => {
  test('behaves after its start as if it had just promised', () => {
    expect(effectsOf(fresh, tick(5_000), read(5_999, 1, record))).toEqual([])
    expect(effectsOf(fresh, tick(5_000), read(6_000, 1, record))).toEqual([{ kind: 'leave' }, claimWrite([b])])
  })

  test('answers a beacon of the primary it follows with a promise, counted from the arrival', () => {
    const follower = play(fresh, { kind: 'following', at: 100, epoch: 4, complete: true }).state
    const bound = play(follower, { kind: 'beacon', at: 200, epoch: 4, number: 9 })
    expect(bound.effects).toEqual([{ kind: 'promise', epoch: 4, number: 9 }])
    expect(bound.state.pledge).toEqual({ boundUntil: 6_200, heardOver: 0 })
    expect(effectsOf(follower, { kind: 'beacon', at: 200, epoch: 3, number: 9 })).toEqual([])
  })

  test('does not claim when its copy is not in the set, though its name is', () => {
    const other = { ...record, inSync: [a, { instance: 'b', copy: 'b0' }] }
    expect(effectsOf(fresh, tick(7_000), read(7_001, 1, other))).toEqual([])
  })

  test('stops before a record that is older than its disk', () => {
    const step = play(fresh, tick(7_000), read(7_001, 1, { ...record, epoch: 3 }))
    expect([step.effects, step.state.trouble]).toEqual([[], 'RecordWentBack'])
  })

  test('claims at once, with the old primary in the set, when that one says it is over', () => {
    const follower = play(fresh, { kind: 'following', at: 100, epoch: 4, complete: true }).state
    expect(effectsOf(follower, { kind: 'over', at: 200, epoch: 4 })).toEqual([{ kind: 'leave' }, { kind: 'read', call: 1 }])
    expect(effectsOf(follower, { kind: 'over', at: 200, epoch: 4 }, read(201, 1, record))).toEqual([{ kind: 'leave' }, claimWrite([a, b])])
    expect(effectsOf(follower, { kind: 'over', at: 200, epoch: 3 })).toEqual([])
  })

  test('does not follow a primary of a lower epoch than its disk has seen', () => {
    expect(effectsOf(fresh, { kind: 'welcomed', at: 1, epoch: 3 })).toEqual([{ kind: 'leave' }])
    expect(effectsOf(fresh, { kind: 'welcomed', at: 1, epoch: 4 })).toEqual([{ kind: 'follow', epoch: 4 }])
  })

  test('claims again when there was no log to follow, as free as before', () => {
    const joining = play(fresh, { kind: 'welcomed', at: 1, epoch: 4 })
    const free = play(joining.state, { kind: 'joinFailed', at: 50, epoch: 4 }, tick(6_000), read(6_010, 1, record))
    expect([free.effects, free.state.disk.seen]).toEqual([[{ kind: 'leave' }, claimWrite([b])], 4])
    expect(effectsOf(joining.state, { kind: 'joinFailed', at: 50, epoch: 3 }, tick(6_000), read(6_010, 1, record))).toEqual([])
  })

  test('stops before a record that nobody can read', () => {
    const step = play(fresh, tick(7_000), read(7_001, 1, 'unreadable'))
    expect([step.effects, step.state.trouble]).toEqual([[], 'RecordUnreadable'])
  })

  test('claims nothing while the cut of its log is on its way to the disk', () => {
    expect(effectsOf(fresh, { kind: 'welcomed', at: 1, epoch: 4 }, tick(7_000), read(7_001, 1, record))).toEqual([])
  })

  test('takes no notice of what it asked before it began to follow', () => {
    const asked = play(fresh, tick(10), { kind: 'welcomed', at: 20, epoch: 5 }, { kind: 'following', at: 30, epoch: 5, complete: true })
    expect(play(asked.state, read(40, 1, record)).state.trouble).toBeUndefined()
  })

  test('takes no notice of an answer to a call that it has given up', () => {
    expect(effectsOf(fresh, tick(6_000), tick(6_900), read(6_901, 1, record))).toEqual([])
  })

  test('claims quickly after a restart as holder, once in ten minutes', () => {
    const own = { ...record, holder: { instance: 'b', incarnation: 'before' } }
    expect(effectsOf(fresh, tick(0), read(10, 1, own))).toEqual([
      { kind: 'noteQuickClaim', wall: WALL + 10 },
      { kind: 'leave' },
      claimWrite([a, b]),
    ])
    const again: AgentState = { ...fresh, disk: { ...fresh.disk, quickClaimAt: WALL - 599_000 } }
    expect(effectsOf(again, tick(0), read(10, 1, own))).toEqual([])
  })

  test('that restarts as the holder of a forced reign waits with its addresses as the force did', () => {
    const own = { ...record, holder: { instance: 'b', incarnation: 'before' } }
    const attachFrom = (shown: ShardRecord): unknown => {
      const { role } = play(fresh, tick(0), read(10, 1, shown)).state
      return role.kind === 'claiming' && role.attachFrom
    }
    expect(attachFrom(own)).toBe(10 + timers.attachWait)
    expect(attachFrom({ ...own, forcedEpoch: own.epoch })).toBe(10 + timers.attachWait + timers.promise)
  })

  test('that was restarted after another has led does not claim quickly', () => {
    const own = { ...record, holder: { instance: 'b', incarnation: 'before' }, epoch: 5 }
    expect(effectsOf(fresh, tick(0), read(10, 1, own))).toEqual([])
  })
})

const claiming = play(fresh, tick(6_000), read(6_010, 1, record)).state

describe('a claim', () => {
  test('is followed by a GET whatever its answer was', () => {
    expect(effectsOf(claiming, { kind: 'callEnded', at: 6_100, call: 2 })).toEqual([{ kind: 'read', call: 3 }])
  })

  test('that may still land lets no promise be given, and is sent again as it was', () => {
    expect(effectsOf(claiming, { kind: 'beacon', at: 6_020, epoch: 4, number: 1 })).toEqual([])
    const unknown = play(claiming, tick(7_000), read(7_050, 3, record))
    expect(unknown.effects).toEqual([{ ...claimWrite([b]), call: 4 }])
  })

  test('has won only at the epoch that it wrote', () => {
    const before = { ...won, epoch: 4 }
    expect(play(claiming, { kind: 'callEnded', at: 6_100, call: 2 }, read(6_150, 3, before)).state.role).toEqual({ kind: 'standby' })
    expect(effectsOf(claiming, { kind: 'callEnded', at: 6_100, call: 2 }, read(6_150, 3, won))).toEqual([{ kind: 'storeSeen', epoch: 5 }])
  })

  test('that lost binds as a promise does', () => {
    const lost = play(
      claiming,
      { kind: 'callEnded', at: 6_100, call: 2 },
      read(6_150, 3, { ...won, holder: { instance: 'c', incarnation: 'ci' } }),
    )
    expect(lost.state.pledge.boundUntil).toBe(12_150)
  })
})

const alone = play(
  claiming,
  { kind: 'callEnded', at: 6_100, call: 2 },
  read(6_150, 3, won),
  { kind: 'seenStored', at: 6_160, epoch: 5 },
  { kind: 'appended', at: 6_160, last: 3 },
  { kind: 'synced', at: 6_160, sequence: 3 },
).state

describe('a primary alone', () => {
  test('acts without end, holds its addresses after attachWait, and acknowledges alone', () => {
    expect([mayAct(alone, 6_160), mayAct(alone, 9e9), addressLifetime(alone, 7_609), addressLifetime(alone, 7_610)]).toEqual([
      true,
      true,
      0,
      4,
    ])
    expect([acknowledges(alone, 3), acknowledges(alone, 4)]).toEqual(['alone', 'wait'])
  })

  test('takes nothing new under Strict', () => {
    const strict: AgentState = { ...alone, durability: 'Strict' }
    expect([judgeAccept(strict), acknowledges(strict, 3), mayAct(strict, 6_160)]).toEqual(['NoStandbyInSync', 'refuse', true])
  })
})

/** c follows, has everything, has answered the beacon of 8,000, and is counted. */
const whole = play(alone, { kind: 'followed', at: 7_990, copy: c }, tick(8_000), {
  kind: 'confirmed',
  at: 8_010,
  copy: c,
  sequence: 3,
  complete: true,
}).state
const counted = play(whole, { kind: 'promised', at: 8_020, copy: c, number: 1 }).state

describe('a follower that has everything', () => {
  test('counts before it is added: no right and no acknowledgement without it', () => {
    const next = play(counted, { kind: 'appended', at: 8_020, last: 4 }, { kind: 'synced', at: 8_020, sequence: 4 }).state
    expect([committed(next), acknowledges(next, 4)]).toEqual([3, 'wait'])
    expect([mayAct(next, 8_000 + timers.right - timers.stop - 1), mayAct(next, 8_000 + timers.right - timers.stop)]).toEqual([true, false])
  })

  test('does not count before it has promised, so that nobody has to stop while it joins', () => {
    expect(mayAct(whole, 9e9)).toBe(true)
    const late = play(whole, tick(8_500), { kind: 'promised', at: 8_000 + timers.right - timers.stop, copy: c, number: 1 }).state
    expect(mayAct(late, 9e9)).toBe(true)
  })

  test('counts no longer, nor again, from when it says that it leaves', () => {
    const leaving = play(counted, tick(8_500), { kind: 'leaving', at: 8_510, copy: c }).state
    expect([needed(counted), needed(leaving)]).toEqual([['c/c1'], []])
    const confirmed = play(leaving, { kind: 'confirmed', at: 8_520, copy: c, sequence: 3, complete: true }).state
    expect([needed(confirmed), mayAct(confirmed, 9e9)]).toEqual([[], true])
  })

  test('is added after its answer to a beacon sent since', () => {
    const beaconed = play(counted, tick(8_500))
    expect(beaconed.effects).toEqual([{ kind: 'beacon', epoch: 5, number: 2 }])
    expect(effectsOf(beaconed.state, tick(8_510))).toEqual([])
    const answered = play(beaconed.state, { kind: 'promised', at: 8_520, copy: c, number: 2 }, tick(8_530))
    expect(answered.effects).toEqual([{ kind: 'read', call: 4 }])
    const promised = play(answered.state, read(8_550, 4, won))
    const { version: _, ...content } = won
    expect(promised.effects).toEqual([{ kind: 'write', call: 5, base: '8', content: { ...content, inSync: [b, c] } }])
    expect(mayAct(promised.state, 8_500 + timers.right - timers.stop - 1)).toBe(true)
    expect(mayAct(promised.state, 8_500 + timers.right - timers.stop)).toBe(false)
  })
})

/** b leads epoch 5 with c in the set, which has promised at 9,000 and confirmed all. */
const pair = { ...won, version: '9', inSync: [b, c] }
const led = play(counted, tick(9_000), { kind: 'promised', at: 9_010, copy: c, number: 2 }, tick(9_015), read(9_020, 4, pair)).state

describe('a primary with a standby', () => {
  test('removes it when it does not answer for removeAfter, and needs it until a GET shows that the removal has won', () => {
    const unanswered = play(led, tick(9_500), tick(10_000), tick(10_500), tick(11_000)).state
    expect(effectsOf(unanswered, tick(11_499))).toEqual([])
    const silent = play(unanswered, tick(11_500), read(11_550, 5, pair))
    const { version: _, ...content } = pair
    expect(silent.effects).toEqual([{ kind: 'write', call: 6, base: '9', content: { ...content, inSync: [b] } }])
    const written = play(silent.state, { kind: 'callEnded', at: 11_600, call: 6 })
    expect(written.effects).toEqual([{ kind: 'read', call: 7 }])
    const answered = play(written.state, { kind: 'appended', at: 11_600, last: 4 }, { kind: 'synced', at: 11_600, sequence: 4 })
    expect(acknowledges(answered.state, 4)).toBe('wait')
    const settled = play(answered.state, read(11_620, 7, { ...pair, version: '10', inSync: [b] }))
    expect(acknowledges(settled.state, 4)).toBe('alone')
  })

  test('removes one that leaves at once, needs it until that has won, and hands nothing over to it', () => {
    const left = play(led, { kind: 'leaving', at: 9_300, copy: c }, { kind: 'followerLeft', at: 9_301, copy: c }).state
    const { version: _, ...content } = pair
    const removing = play(left, tick(9_920), read(9_930, 5, pair))
    expect(removing.effects).toEqual([{ kind: 'write', call: 6, base: '9', content: { ...content, inSync: [b] } }])
    const entry: readonly RoleEvent[] = [
      { kind: 'appended', at: 9_940, last: 4 },
      { kind: 'synced', at: 9_940, sequence: 4 },
    ]
    expect(acknowledges(play(removing.state, ...entry).state, 4)).toBe('wait')
    expect(effectsOf(left, { kind: 'switchover', at: 9_310 })).toEqual([{ kind: 'switchoverRefused', because: 'NoHeir' }])
  })

  test('removes nobody who said so and promises again, and one who only came again', () => {
    const come = play(led, { kind: 'leaving', at: 9_300, copy: c }, { kind: 'followed', at: 9_400, copy: c }, tick(9_500)).state
    const promised: RoleEvent = { kind: 'promised', at: 9_510, copy: c, number: 3 }
    expect([effectsOf(come, tick(9_920)), effectsOf(come, promised, tick(9_920))]).toEqual([[{ kind: 'read', call: 5 }], []])
  })

  test('stops for good when the record names another holder', () => {
    const step = play(led, tick(20_000), read(20_050, 5, { ...record, version: '11', epoch: 6 }))
    expect(step.effects).toEqual([{ kind: 'stepDown', epoch: 5 }])
    expect([step.state.role, step.state.pledge.boundUntil, mayAct(step.state, 20_050)]).toEqual([{ kind: 'standby' }, 26_050, false])
  })

  test('removes nobody that it has not asked: neither while its disk hangs nor when it wakes', () => {
    const hangs = (at: number): RoleEvent => ({ kind: 'tick', at, stalledFor: timers.stall })
    expect(effectsOf(led, hangs(11_000), hangs(13_000), hangs(15_000), read(15_050, 5, pair))).toEqual([])
    const woken = play(led, tick(15_000))
    expect(woken.effects.map(({ kind }) => kind)).toEqual(['beacon', 'read'])
    expect(effectsOf(woken.state, read(15_050, 5, pair))).toEqual([])
  })

  test('looks at the record once a minute, though nothing needs it', () => {
    const answered = (at: number, number: number): readonly RoleEvent[] => [tick(at), { kind: 'promised', at, copy: c, number }]
    const calm = Array.from({ length: 100 }, (_, i) => answered(9_500 + 500 * i, i + 2)).flat()
    const busy = play(led, ...calm).state
    expect(busy.calls.lastReadAt).toBe(led.calls.lastReadAt)
    const later = Array.from({ length: 21 }, (_, i) => answered(59_500 + 500 * i, i + 102)).flat()
    expect(play(busy, ...later).state.calls.lastReadAt).toBe(500 * Math.ceil((led.calls.lastReadAt + LOOK_EVERY) / 500))
  })

  test('sends no beacon while its disk hangs', () => {
    expect(effectsOf(led, { kind: 'tick', at: 10_000, stalledFor: timers.stall })).toEqual([])
  })

  test('hands over in the order of section 8: transactions, mail, addresses, role, word', () => {
    const asked = play(led, { kind: 'switchover', at: 9_100 })
    expect(asked.effects).toEqual([])
    const begun = play(asked.state, tick(9_920), { kind: 'promised', at: 9_925, copy: c, number: 2 }, read(9_930, 5, pair)).state
    expect([mayAct(begun, 9_930), mayStart(begun, 9_930), judgeAccept(begun)]).toEqual([true, false, 'accept'])
    const closing = play(begun, { kind: 'transactionsEnded', at: 9_940 })
    expect(closing.effects).toEqual([{ kind: 'closeListener' }])
    expect([mayAct(closing.state, 9_940), judgeAccept(closing.state)]).toEqual([false, 'SwitchoverUnderWay'])
    const detaching = play(closing.state, tick(9_950))
    expect(detaching.effects).toEqual([{ kind: 'removeAddresses' }])
    const over = play(detaching.state, { kind: 'addressesRemoved', at: 9_960 })
    expect(over.effects).toEqual([
      { kind: 'sayOver', epoch: 5, last: 3 },
      { kind: 'stepDown', epoch: 5 },
    ])
    expect([over.state.role, over.state.pledge.boundUntil]).toEqual([{ kind: 'standby' }, 15_960])
  })

  test('refuses to hand over before it has waited for the addresses of the reign before', () => {
    const early = { ...led, role: { ...led.role, attachFrom: 9_200 } } as AgentState
    expect(effectsOf(early, { kind: 'switchover', at: 9_100 })).toEqual([{ kind: 'switchoverRefused', because: 'AddressesNotYetHeld' }])
  })
})

describe('a forced promotion', () => {
  const out = { ...record, inSync: [a] }
  const force = (version: string): RoleEvent => ({ kind: 'force', at: 10, force: { version, incompleteToo: false } })

  test('makes the forced copy the set, and waits longest before it attaches', () => {
    const forced = play(fresh, force('7'), tick(6_000), read(6_010, 1, out))
    expect(forced.effects).toEqual([
      { kind: 'leave' },
      {
        kind: 'write',
        call: 2,
        base: '7',
        content: { holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b], forcedEpoch: 5 },
      },
    ])
    expect(forced.state.role).toMatchObject({ kind: 'claiming', attachFrom: 6_010 + timers.promise + timers.attachWait })
  })

  test('of a copy that is not complete makes it complete, and can be asked for again if it died before', () => {
    const partial: AgentState = { ...fresh, disk: { ...fresh.disk, complete: false } }
    const word: RoleEvent = { kind: 'force', at: 10, force: { version: '7', incompleteToo: true } }
    const forced = play(partial, word, tick(6_000), read(6_010, 1, out))
    const won = { ...out, version: '8', holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b], forcedEpoch: 5 }
    const led = play(forced.state, { kind: 'callEnded', at: 6_020, call: 2 }, read(6_030, 3, won), {
      kind: 'seenStored',
      at: 6_040,
      epoch: 5,
    })
    expect(led.state.disk).toEqual({ seen: 5, complete: true, quickClaimAt: 0 })
    const died = { ...won, version: '7', holder: { instance: 'b', incarnation: 'before' } }
    expect(play(partial, word, tick(6_000), read(6_010, 1, died)).state.role).toMatchObject({
      kind: 'claiming',
      claim: { content: { epoch: 6 } },
    })
  })

  test('is refused when the record has changed since the statement', () => {
    expect(effectsOf(fresh, force('6'), tick(6_000), read(6_010, 1, out))).toEqual([{ kind: 'forceRefused', because: 'OtherVersion' }])
  })
})
