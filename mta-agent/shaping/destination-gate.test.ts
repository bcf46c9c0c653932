import fc from 'fast-check'
import { expect, test } from 'vitest'
import { admits, coolDownFor, type Gate, type GateEvent, OPEN, step as stepWith } from './destination-gate.ts'

const COOL_DOWN = coolDownFor([300, 3600])
const step = (gate: Gate, event: GateEvent): Gate => stepWith(gate, event, COOL_DOWN)
const run = (...events: readonly GateEvent[]): Gate => events.reduce(step, OPEN)
const failed = (at: number): GateEvent => ({ kind: 'failed', at })

test('three failures in a row close it for a minute', () => {
  expect(run(failed(0), failed(1))).toEqual({ state: 'open', failures: 2 })
  expect(run(failed(0), failed(1), failed(2))).toEqual({ state: 'closed', until: 60_002, coolDownMillis: 60_000 })
})

test('an answer between failures, be it no, keeps it open', () => {
  expect(run(failed(0), failed(1), { kind: 'answered' }, failed(2), failed(3))).toEqual({ state: 'open', failures: 2 })
})

test('failures of attempts that began before it closed tell nothing', () => {
  expect(run(failed(0), failed(1), failed(2), failed(50_000))).toEqual({ state: 'closed', until: 60_002, coolDownMillis: 60_000 })
})

test('after the cool-down one may dial; its failure doubles the cool-down, its answer opens', () => {
  const closed = run(failed(0), failed(0), failed(0))
  expect([admits(closed, 59_999, 20), admits(closed, 60_000, 20)]).toEqual([0, 1])
  const probing = step(closed, { kind: 'dialled', at: 60_000 })
  expect(admits(probing, 90_000, 20)).toBe(0)
  expect(step(probing, failed(61_000))).toEqual({ state: 'closed', until: 181_000, coolDownMillis: 120_000 })
  expect(step(probing, { kind: 'answered' })).toEqual(OPEN)
})

test('a probe that was called off may be made again at once', () => {
  const probing = step(run(failed(0), failed(0), failed(0)), { kind: 'dialled', at: 60_000 })
  expect(admits(step(probing, { kind: 'calledOff', at: 60_500 }), 60_500, 20)).toBe(1)
})

test.each([
  [[300, 3600], { first: 60_000, last: 1_800_000 }],
  [[5, 10], { first: 5_000, last: 10_000 }],
  [[7200], { first: 60_000, last: 1_800_000 }],
])('a ladder of %j seconds means cool-downs of %o', (ladder, wanted) => {
  expect(coolDownFor(ladder)).toEqual(wanted)
})

test('blocked is closed until then', () => {
  expect(step(OPEN, { kind: 'blocked', until: 5_000 })).toEqual({ state: 'closed', until: 5_000, coolDownMillis: COOL_DOWN.first })
})

const event = (at: number): fc.Arbitrary<GateEvent> =>
  fc.constantFrom<GateEvent>(
    { kind: 'failed', at },
    { kind: 'answered' },
    { kind: 'dialled', at },
    { kind: 'calledOff', at },
    { kind: 'blocked', until: at + 1000 },
  )
const history = fc.array(fc.nat(200_000), { minLength: 1, maxLength: 60 }).chain((waits) => {
  let now = 0
  return fc.tuple(...waits.map((wait) => event((now += wait))))
})

test('whatever happens: a closed gate admits one probe in the end, a probing one nobody, and the cool-down keeps its bounds', () => {
  fc.assert(
    fc.property(history, (events) => {
      const gate = run(...events)
      expect(admits(gate, Number.MAX_SAFE_INTEGER, 20)).toBe({ open: 20, closed: 1, probing: 0 }[gate.state])
      const coolDown = gate.state === 'open' ? COOL_DOWN.first : gate.coolDownMillis
      expect(coolDown >= COOL_DOWN.first && coolDown <= COOL_DOWN.last).toBe(true)
    }),
  )
})
