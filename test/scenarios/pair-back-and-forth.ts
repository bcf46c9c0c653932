import type { Gap, Pair } from './pair.ts'
import { openPair } from './pair.ts'
import { must, type Facts, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

const RUNS = 20
/** What nineteen of twenty new clients wait at most. */
const P95_MILLIS = { Default: 15_000, Fast: 6_000 }

export type Timing = keyof typeof P95_MILLIS

export const withDefault = backAndForth('Default', RUNS)
export const withFast = backAndForth('Fast', RUNS)

type Run = Gap & { readonly heir: string; readonly duplicated: number }

/** Each run is a row of the table that it says. */
export function backAndForth(timing: Timing, count: number): Scenario {
  const p95Millis = P95_MILLIS[timing]
  return {
    name: timing === 'Default' ? 'pair-back-and-forth' : 'pair-back-and-forth-fast',
    promise: `${count} power cuts of the primary's node in a row, back and forth, timing ${timing}: nothing is lost, and a new client is served within ${p95Millis / 1000} s in 19 of 20`,
    needs: 'local',
    occasion: 'byName',
    async run(stage) {
      const pair = await openPair(stage, 'swings', { timing })
      const runs: Run[] = []
      for (let number = 1; number <= count; number += 1) {
        runs.push(await runOnce(stage, pair))
        stage.say(`  ${String(number).padStart(2)} ${formatRun(runs.at(-1)!)}`)
      }
      const facts = { runs: count, ...percentiles(runs), duplicated: runs.reduce((sum, { duplicated }) => sum + duplicated, 0) }
      must(
        facts.acceptedP95Millis <= p95Millis,
        `p95 until a new client is served must be at most ${p95Millis} ms, was ${JSON.stringify(facts)}`,
      )
      return facts
    },
  }
}

/** Under load that begins and ends with the run, so that duplicates are counted one run at a time. */
async function runOnce(stage: Stage, pair: Pair): Promise<Run> {
  const faults = stage.localFaults()
  await stage.internet.reset()
  const primary = await pair.primary()
  const load = await pair.load()
  const probe = await pair.probe()
  await load.accepted(100)
  const offAt = Date.now()
  await faults.powerOff(primary.node)
  const heir = await pair.heirOf(primary)
  const gap = await pair.gap(probe, heir, offAt)
  const { duplicated } = await pair.mustHaveArrived(1)
  await pair.mustHaveSentInTurn(primary, heir)
  await faults.powerOn(primary.node)
  await pair.inSync()
  return { ...gap, heir: heir.name, duplicated }
}

const formatRun = ({ heir, saidMillis, acceptedMillis, deliveredMillis, duplicated }: Run): string =>
  `${heir}  said ${saidMillis} ms  accepted ${acceptedMillis} ms  delivered ${deliveredMillis} ms  twice ${duplicated}`

const MEASURED = ['saidMillis', 'acceptedMillis', 'deliveredMillis'] as const

function percentiles(runs: readonly Run[]): Facts & { readonly acceptedP95Millis: number } {
  const at = (measured: (typeof MEASURED)[number], share: number): number => {
    const sorted = runs.map((run) => run[measured]).toSorted((a, b) => a - b)
    return sorted[Math.ceil(share * sorted.length) - 1]!
  }
  const named = (word: string, measured: (typeof MEASURED)[number]) => ({
    [`${word}P50Millis`]: at(measured, 0.5),
    [`${word}P95Millis`]: at(measured, 0.95),
  })
  return {
    ...named('said', 'saidMillis'),
    ...named('delivered', 'deliveredMillis'),
    acceptedP50Millis: at('acceptedMillis', 0.5),
    acceptedP95Millis: at('acceptedMillis', 0.95),
  }
}
