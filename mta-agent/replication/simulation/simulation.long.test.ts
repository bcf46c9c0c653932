import { expect, test } from 'vitest'
import { PROFILES } from './profiles.ts'
import { runSeed } from './run.ts'

const SEEDS = 2_000

test(`${SEEDS} runs keep S1 to S4 at every step and L1 at the end`, { timeout: 120_000 }, () => {
  const outcomes = Array.from({ length: SEEDS }, (_, i) => runSeed(i + 1))
  expect(outcomes.filter(({ violation }) => violation !== undefined)).toEqual([])
  // A net that is never thrown catches nothing.
  expect(new Set(outcomes.map(({ profile }) => profile))).toEqual(new Set(Object.keys(PROFILES)))
  const reigns = outcomes.reduce((sum, { epochs }) => sum + epochs, 0)
  expect(reigns).toBeGreaterThan(3 * SEEDS)
})
