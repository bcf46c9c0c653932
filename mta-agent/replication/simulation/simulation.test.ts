import { expect, test } from 'vitest'
import { runSeed } from './run.ts'

/** A first look, for the quick check; 2,000 seeds are in simulation.long.test.ts. */
const SEEDS = 150

test(`${SEEDS} runs keep S1 to S4 at every step and L1 at the end`, () => {
  const outcomes = Array.from({ length: SEEDS }, (_, i) => runSeed(i + 1))
  expect(outcomes.filter(({ violation }) => violation !== undefined)).toEqual([])
})

test('a seed is the same run every time', () => {
  const traceOf = (seed: number): readonly string[] => {
    const lines: string[] = []
    runSeed(seed, { trace: (line) => lines.push(line) })
    return lines
  }
  expect(traceOf(7)).toEqual(traceOf(7))
  expect(traceOf(7)).not.toEqual(traceOf(8))
})
