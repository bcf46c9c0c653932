import fc from 'fast-check'
import { expect, test } from 'vitest'
import { buildLease, type Candidate, FIRST_STANDING, formatMicroTime, type LeaseEvent, type Standing, step, type Todo } from './lease.ts'
import type { Lease } from './resources.ts'

const TIMES = { leaseDurationMillis: 15_000, renewDeadlineMillis: 10_000, retryMillis: 2000, callMillis: 3000 }
const ME: Candidate = { identity: 'me', times: TIMES }
const KEY = { namespace: 'mail', name: 'leader' }

const record = (holderIdentity: string, resourceVersion: string): Lease => ({
  metadata: { ...KEY, uid: 'u', resourceVersion },
  spec: { holderIdentity, leaseDurationSeconds: 15 },
})
const following = (lease: Lease | undefined, unchangedSince = 0): Standing => ({ kind: 'following', lease, unchangedSince })
const leading = (lease: Lease, renewedAt = 0): Standing => ({ kind: 'leading', lease, renewedAt })
const todo = (standing: Standing, event: LeaseEvent): Todo => step(standing, event, ME).todo

test('a free record is taken at once: absent, released, or ours from a call whose answer was lost', () => {
  expect([
    todo(FIRST_STANDING, { kind: 'read', lease: undefined, at: 5 }),
    todo(FIRST_STANDING, { kind: 'read', lease: record('', '1'), at: 5 }),
    todo(FIRST_STANDING, { kind: 'read', lease: record('me', '1'), at: 5 }),
  ]).toEqual([
    { kind: 'write', lease: undefined },
    { kind: 'write', lease: record('', '1') },
    { kind: 'write', lease: record('me', '1') },
  ])
})

test('another holder is left alone until it was seen silent for its whole lease duration', () => {
  const first = step(FIRST_STANDING, { kind: 'read', lease: record('other', '1'), at: 1000 }, ME)
  expect(first).toEqual({ standing: following(record('other', '1'), 1000), todo: { kind: 'wait' } })
  expect([
    todo(first.standing, { kind: 'read', lease: record('other', '1'), at: 15_999 }),
    todo(first.standing, { kind: 'read', lease: record('other', '1'), at: 16_000 }),
    todo(first.standing, { kind: 'read', lease: record('other', '2'), at: 16_000 }),
  ]).toEqual([{ kind: 'wait' }, { kind: 'write', lease: record('other', '1') }, { kind: 'wait' }])
})

test('the leader renews, reads again after a refusal, and goes on when the record is still its own', () => {
  const standing = leading(record('me', '1'))
  expect([
    todo(standing, { kind: 'waited', at: 2000 }),
    todo(standing, { kind: 'refused', at: 2000 }),
    todo(standing, { kind: 'read', lease: record('me', '2'), at: 2000 }),
    todo(standing, { kind: 'read', lease: undefined, at: 2000 }),
    todo(standing, { kind: 'failed', at: 2000 }),
  ]).toEqual([
    { kind: 'write', lease: record('me', '1') },
    { kind: 'read' },
    { kind: 'write', lease: record('me', '2') },
    { kind: 'write', lease: undefined },
    { kind: 'wait' },
  ])
})

test('the lease is lost to another holder, or when no renewal has begun for the renew deadline', () => {
  const standing = leading(record('me', '1'), 1000)
  expect([
    todo(standing, { kind: 'read', lease: record('other', '2'), at: 2000 }),
    todo(standing, { kind: 'failed', at: 10_999 }),
    todo(standing, { kind: 'failed', at: 11_000 }),
    todo(standing, { kind: 'waited', at: 99_000 }),
  ]).toEqual([
    { kind: 'lost', because: 'TakenOver' },
    { kind: 'wait' },
    { kind: 'lost', because: 'NotRenewed' },
    { kind: 'lost', because: 'NotRenewed' },
  ])
})

test('a renewal keeps when the lease was acquired; a take-over counts a transition', () => {
  const taken = buildLease(KEY, { ...record('other', '7'), spec: { holderIdentity: 'other', leaseTransitions: 3 } }, ME, 0)
  const renewed = buildLease(KEY, taken, ME, 1000)
  expect([taken, renewed]).toEqual([
    {
      metadata: record('other', '7').metadata,
      spec: {
        holderIdentity: 'me',
        leaseDurationSeconds: 15,
        acquireTime: '1970-01-01T00:00:00.000000Z',
        renewTime: '1970-01-01T00:00:00.000000Z',
        leaseTransitions: 4,
      },
    },
    { ...taken, spec: { ...taken.spec, renewTime: '1970-01-01T00:00:01.000000Z' } },
  ])
})

test('times have six digits of a second', () => {
  expect(formatMicroTime(Date.UTC(2026, 0, 2, 3, 4, 5, 6))).toBe('2026-01-02T03:04:05.006000Z')
})

/**
 * The law: two candidates over one record with conditional writes, any call answered late, refused or lost, clocks that differ by any offset.
 * A candidate leads while its last successful request began less than renewDeadline ago.
 */
test('law: never two leaders at a time', () => {
  const call = fc.constantFrom('good', 'good', 'good', 'lost', 'failed')
  // One candidate often goes on alone for a while, as if the other were frozen: that is where a take-over comes too early, if it can.
  const turn = fc.record({
    who: fc.nat(1),
    acts: fc.array(fc.record({ passes: fc.oneof(fc.nat(300), fc.nat(6000)), call }), { maxLength: 8 }),
  })
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 40 }), fc.nat(1_000_000), (turns, offset) => {
      const world = new TwoCandidates([0, offset])
      const leaders = turns.flatMap(({ who, acts }) => acts.map((act) => world.act(who, act.passes, act.call)))
      expect(leaders.filter((count) => count > 1)).toEqual([])
    }),
    { numRuns: 300 },
  )
})

class TwoCandidates {
  readonly #offsets: readonly number[]
  readonly #minds = [0, 1].map(() => ({ standing: FIRST_STANDING, todo: { kind: 'read' } as Todo }))
  #record: Lease | undefined
  #version = 0
  #now = 0

  constructor(offsets: readonly number[]) {
    this.#offsets = offsets
  }

  /** How many lead afterwards. */
  act(who: number, passes: number, call: 'good' | 'lost' | 'failed'): number {
    const candidate = { identity: `candidate-${who}`, times: TIMES }
    const mind = this.#minds[who]!
    const startedAt = this.#clock(who)
    // A call takes its time; its effect may come at any moment of it, here at the end.
    this.#now += mind.todo.kind === 'wait' ? TIMES.retryMillis : Math.min(passes, TIMES.callMillis)
    const event = this.#perform(mind.todo, candidate, { startedAt, at: this.#clock(who), call })
    Object.assign(
      mind,
      mind.todo.kind === 'lost' ? { standing: FIRST_STANDING, todo: { kind: 'read' } } : step(mind.standing, event, candidate),
    )
    this.#now += passes
    return [0, 1].filter((one) => this.#leads(one)).length
  }

  #perform(what: Todo, candidate: Candidate, how: { startedAt: number; at: number; call: 'good' | 'lost' | 'failed' }): LeaseEvent {
    const { startedAt, at, call } = how
    if (what.kind === 'wait' || what.kind === 'lost') return { kind: 'waited', at }
    if (call === 'failed') return { kind: 'failed', at }
    if (what.kind === 'read') return call === 'lost' ? { kind: 'failed', at } : { kind: 'read', lease: this.#record, at }
    if (what.lease?.metadata.resourceVersion !== this.#record?.metadata.resourceVersion) return { kind: 'refused', at }
    const built = buildLease(KEY, what.lease, candidate, at)
    this.#version += 1
    this.#record = { ...built, metadata: { ...built.metadata, uid: 'u', resourceVersion: String(this.#version) } }
    return call === 'lost' ? { kind: 'failed', at } : { kind: 'written', lease: this.#record, startedAt }
  }

  #clock(who: number): number {
    return this.#now + this.#offsets[who]!
  }

  #leads(who: number): boolean {
    const { standing } = this.#minds[who]!
    return standing.kind === 'leading' && this.#clock(who) - standing.renewedAt < TIMES.renewDeadlineMillis
  }
}
