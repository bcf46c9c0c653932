import { writeFile } from 'node:fs/promises'
import { parseOptions } from '#test/support/command-line.ts'
import { playScenarios } from './run.ts'
import { EVERY_TIME, SCENARIOS } from './scenarios.ts'
import { openFleet } from './fleet.ts'
import type { Scenario } from './scenario.ts'
import { UnfitCluster } from './world.ts'

/** `npm run scenario -- NAME… [--all] [--list] [--json FILE] [--context NAME] [--kubeconfig FILE] [--storage-class NAME] [--test-image REF]` (docs/kind.md) */

const { values, positionals } = parseOptions({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    json: { type: 'string' },
    context: { type: 'string' },
    kubeconfig: { type: 'string' },
    'storage-class': { type: 'string' },
    'test-image': { type: 'string' },
  },
})

if (values.list) {
  for (const { name, needs, occasion = 'always', promise } of SCENARIOS) {
    console.log(`${name.padEnd(24)} ${needs.padEnd(6)} ${occasion === 'byName' ? '(only by name) ' : ''}${promise}`)
  }
} else {
  const unknown = positionals.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name))
  const chosen = SCENARIOS.filter((scenario) => (values.all && EVERY_TIME.includes(scenario)) || positionals.includes(scenario.name))
  const foreign = values.context !== undefined || values.kubeconfig !== undefined
  const unfit = foreign ? chosen.filter((scenario) => scenario.needs === 'local' && positionals.includes(scenario.name)) : []
  if (unknown.length > 0 || chosen.length === 0) {
    console.error(`must name scenarios of --list, or --all; ${unknown.length > 0 ? `there is no ${unknown.join(', ')}` : 'none was named'}`)
    process.exitCode = 2
  } else if (unfit.length > 0) {
    console.error(
      `${unfit.map((one) => one.name).join(', ')}: makes faults that only the local cluster can make; leave --context and --kubeconfig out`,
    )
    process.exitCode = 2
  } else {
    const playable = foreign ? chosen.filter((scenario) => scenario.needs === 'any') : chosen
    await play(playable)
  }
}

async function play(playable: readonly Scenario[]): Promise<void> {
  try {
    await using fleet = await openFleet({
      context: values.context,
      kubeconfig: values.kubeconfig,
      storageClassName: values['storage-class'],
      testImage: values['test-image'],
      say: console.log,
    })
    const played = await playScenarios(playable, fleet, console.log)
    if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(played, null, 2)}\n`)
    const failed = played.filter((one) => one.result === 'failed')
    console.log(`\n${played.length - failed.length} passed, ${failed.length} failed`)
    process.exitCode = failed.length > 0 ? 1 : 0
  } catch (error) {
    if (!(error instanceof UnfitCluster)) throw error
    console.error(error.message)
    process.exitCode = 2
  }
}
