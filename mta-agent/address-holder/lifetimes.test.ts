import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Grant, granted, NO_GRANT, planDeed } from './lifetimes.ts'

const at = (until: number, deadline: number, now = 0) => planDeed({ until, deadline }, now)

test('a first lifetime is what remains to the deadline, less what the call may take, in whole seconds', () => {
  const none = Number.NEGATIVE_INFINITY
  expect([at(none, 4_900), at(none, 4_099), at(none, 1_100), at(none, 60_000)]).toEqual([
    { kind: 'set', seconds: 4 },
    { kind: 'set', seconds: 3 },
    { kind: 'set', seconds: 1 },
    { kind: 'set', seconds: 9 },
  ])
})

test('nothing is given when less than a second is safe', () => {
  expect([at(Number.NEGATIVE_INFINITY, 1_099), at(Number.NEGATIVE_INFINITY, 0), planDeed(NO_GRANT, 0)]).toEqual(
    Array.from({ length: 3 }, () => ({ kind: 'remove' })),
  )
})

test('a lifetime is given anew when an eighth of what remains is gained', () => {
  expect([at(3_500, 4_900), at(3_300, 4_900)]).toEqual([{ kind: 'keep' }, { kind: 'set', seconds: 4 }])
})

test('what was given is kept to its end when no new deadline comes, and is gone at the deadline', () => {
  const grant = { until: 4_000, deadline: 4_900 }
  expect([3_850, 4_000, 4_899, 4_900].map((now) => planDeed(grant, now).kind)).toEqual(['keep', 'remove', 'remove', 'remove'])
})

test('a call that took too long is corrected at once: shorter, or removed', () => {
  expect([at(5_000, 4_900), at(1_300, 1_200, 300)]).toEqual([{ kind: 'set', seconds: 4 }, { kind: 'remove' }])
})

test('law: whatever the deadline and the delays, what is given last ends by the deadline', () => {
  const delays = fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 20, maxLength: 20 })
  fc.assert(
    fc.property(fc.integer({ min: -5_000, max: 20_000 }), fc.integer({ min: -5_000, max: 20_000 }), delays, (until, deadline, late) => {
      expect(settled({ until, deadline }, late)).toBeLessThanOrEqual(deadline)
    }),
  )
})

/** Until when the kernel keeps the addresses, when nothing more is due; each call takes as long as the next of `late`. */
function settled(grant: Grant, late: readonly number[], now = 0): number {
  const deed = planDeed(grant, now)
  const [delay = 0, ...rest] = late
  if (deed.kind === 'keep') return grant.until
  if (deed.kind === 'remove') return Number.NEGATIVE_INFINITY
  return settled(granted(grant, deed.seconds, now + delay), rest, now + delay)
}
