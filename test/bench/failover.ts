import { parseOptions, refuseCommandLine, wholeNumber } from '#test/support/command-line.ts'
import { openFleet } from '#test/scenarios/fleet.ts'
import { backAndForth, type Timing } from '#test/scenarios/pair-back-and-forth.ts'
import { playScenarios } from '#test/scenarios/run.ts'
import type { Bench } from './main.ts'

/** How long a new client waits after a power cut: the scenarios of it, as a table of every run. */

export const FAILOVER: Bench = {
  name: 'failover',
  measures: 'how long new clients wait, and receivers hear nothing, when the node of a primary loses power (local cluster)',
  options: '[--timing Default|Fast] (both) [--runs N] (20)',
  run: async (args) => {
    const { values } = parseOptions({ args: [...args], options: { timing: { type: 'string' }, runs: { type: 'string', default: '20' } } })
    const runs = wholeNumber('--runs', values.runs)
    const timings = values.timing === undefined ? (['Default', 'Fast'] as const) : [parseTiming(values.timing)]
    await using fleet = await openFleet({ say: console.log })
    const played = await playScenarios(
      timings.map((timing) => backAndForth(timing, runs)),
      fleet,
      console.log,
    )
    if (played.some(({ result }) => result === 'failed')) process.exitCode = 1
  },
}

function parseTiming(text: string): Timing {
  if (text === 'Default' || text === 'Fast') return text
  return refuseCommandLine(`--timing must be Default or Fast, was ${text}`)
}
