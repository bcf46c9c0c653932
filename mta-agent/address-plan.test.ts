import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addressesToHold, ALONE, NOTHING_TRIED, planAddresses, RETRY, type Situation } from './address-plan.ts'

const A = { address: '192.0.2.1' }
const B = { address: '192.0.2.2' }
const NOW = 100_000
const NEVER = Number.NEGATIVE_INFINITY

const holding: Situation = {
  now: NOW,
  tenure: { from: 0, acts: NOW + 4_500, right: NOW + 4_800 },
  lifetime: 4_900,
  wanted: [A],
  held: [A.address],
  heldUntil: NOW + 4_300,
  told: NOW + 4_300,
  tried: { wanted: [A], at: NOW - 9_000 },
  isAttaching: false,
  isExtending: false,
}
const fresh: Situation = { ...holding, held: [], heldUntil: NEVER, told: NEVER, tried: NOTHING_TRIED }
const wait = { kind: 'wait' }
const attach = (...addresses: readonly (typeof A)[]) => ({ kind: 'attach', addresses, deadline: NOW + 4_800 })

test.each<{ readonly what: string; readonly given: Situation; readonly want: unknown }>([
  { what: 'attaches at once, to the end of the right', given: fresh, want: attach(A) },
  { what: 'not before attachFrom', given: { ...fresh, tenure: { ...fresh.tenure, from: NOW + 1 } }, want: wait },
  {
    what: 'not when acting must have ended, though the right has not',
    given: { ...fresh, tenure: { ...fresh.tenure, acts: NOW } },
    want: wait,
  },
  { what: 'nor for less than a second', given: { ...fresh, tenure: { from: 0, acts: NOW + 700, right: NOW + 1_000 } }, want: wait },
  { what: 'alone, for a right from now', given: { ...fresh, tenure: ALONE }, want: { ...attach(A), deadline: NOW + 4_900 } },
  { what: 'asks for nothing where nothing is wanted', given: { ...fresh, wanted: [] }, want: wait },
  { what: 'leaves a right alone that has hardly grown', given: holding, want: wait },
  {
    what: 'extends one that has grown by an eighth',
    given: { ...holding, told: NOW + 4_187 },
    want: { kind: 'extend', deadline: NOW + 4_800 },
  },
  { what: 'one extension at a time', given: { ...holding, told: NOW + 3_000, isExtending: true }, want: wait },
  {
    what: 'extends while it attaches',
    given: { ...holding, told: NOW + 3_000, wanted: [A, B], isAttaching: true },
    want: { kind: 'extend', deadline: NOW + 4_800 },
  },
  { what: 'attaches again what the holder does not name any more', given: { ...holding, held: [] }, want: attach(A) },
  { what: 'and all whose deadline has come', given: { ...holding, heldUntil: NOW, told: NOW }, want: attach(A) },
  { what: 'but not at once after an attempt', given: { ...holding, held: [], tried: { wanted: [A], at: NOW - RETRY + 1 } }, want: wait },
  {
    what: 'unless others are wanted by now',
    given: { ...holding, wanted: [A, B], tried: { wanted: [A], at: NOW - 1 } },
    want: attach(A, B),
  },
  { what: 'or fewer', given: { ...holding, wanted: [], tried: { wanted: [A], at: NOW - 1 } }, want: attach() },
])('$what', ({ given, want }) => {
  expect(planAddresses(given)).toEqual(want)
})

test('no deadline is ever beyond the right, or further away than a lifetime', () => {
  const times = fc.double({ min: NOW - 10_000, max: NOW + 10_000, noNaN: true })
  fc.assert(
    fc.property(times, times, times, times, fc.boolean(), (from, acts, told, heldUntil, isHeld) => {
      const tenure = { from, acts, right: acts + 300 }
      const deed = planAddresses({ ...holding, tenure, told, heldUntil, held: isHeld ? [A.address] : [] })
      if (deed.kind === 'wait') return
      expect([from <= NOW, NOW < acts, deed.deadline <= tenure.right, deed.deadline <= NOW + 4_900]).toEqual([true, true, true, true])
    }),
  )
})

test('an address that was taken out of the document stays while a connection is open from it, with its interface', () => {
  const leaving = { ...B, interface: 'eth1' }
  const used = [A.address, B.address]
  expect([
    addressesToHold([A], [A, leaving], used),
    addressesToHold([A], [A, leaving], [A.address]),
    addressesToHold([A], [], used),
  ]).toEqual([[A, leaving], [A], [A]])
})
