import type { Facts, Scenario } from './scenario.ts'
import type { Fleet } from './fleet.ts'
import { openStage, STAGE_LABEL } from './stage.ts'

/** Plays scenarios one after the other, each on a stage of its own, and says what came of each. */

export type Played = {
  readonly name: string
  readonly promise: string
  readonly result: 'passed' | 'failed'
  readonly seconds: number
  readonly facts?: Facts
  readonly failure?: string
}

export async function playScenarios(scenarios: readonly Scenario[], fleet: Fleet, say: (text: string) => void): Promise<Played[]> {
  const played: Played[] = []
  await clearDemo(fleet, say)
  for (const scenario of scenarios) {
    say(`\n▶ ${scenario.name}: ${scenario.promise}`)
    const one = await playScenario(scenario, fleet, say)
    say(
      one.result === 'passed'
        ? `✔ ${one.name} (${one.seconds} s) ${formatFacts(one.facts ?? {})}`
        : `✘ ${one.name} (${one.seconds} s)\n${one.failure}`,
    )
    played.push(one)
  }
  return played
}

async function playScenario(scenario: Scenario, fleet: Fleet, say: (text: string) => void): Promise<Played> {
  const started = performance.now()
  const known = { name: scenario.name, promise: scenario.promise }
  const seconds = () => Math.round((performance.now() - started) / 100) / 10
  try {
    await using stage = await openStage(scenario.name, fleet, say)
    try {
      const facts = await scenario.run(stage)
      return { ...known, result: 'passed', seconds: seconds(), facts }
    } catch (error) {
      const failure = error instanceof Error ? (error.stack ?? error.message) : String(error)
      return { ...known, result: 'failed', seconds: seconds(), failure: `${failure}\n${await stage.describe()}` }
    }
  } catch (error) {
    return {
      ...known,
      result: 'failed',
      seconds: seconds(),
      failure: `the stage itself: ${error instanceof Error ? error.stack : String(error)}`,
    }
  }
}

/** A demo that was left up holds the addresses that scenarios use; two pools with one address is a conflict, as it should be. */
async function clearDemo(fleet: Fleet, say: (text: string) => void): Promise<void> {
  const found = await fleet.kubectl('get', 'namespaces', '-l', `${STAGE_LABEL}=mail`, '-o', 'name')
  if (found.trim() === '') return
  say('deleting what the demo left (namespace mail): it holds the addresses that scenarios use …')
  await fleet.kubectl('delete', 'namespace', 'mail', '--timeout=240s')
  await fleet.recycleVolumes()
}

const formatFacts = (facts: Facts): string =>
  Object.entries(facts)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
