import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { clusterDown, clusterStatus, clusterUp, powerOff, stopApiServer } from '#test/cluster/cluster.ts'
import { ensureBinaries } from '#test/cluster/binaries.ts'
import { internetDown } from '#test/internet/main.ts'
import { playScenarios, type Played } from '#test/scenarios/run.ts'
import { EVERY_TIME } from '#test/scenarios/scenarios.ts'
import { openFleet } from '#test/scenarios/fleet.ts'
import { parseOptions, refuseCommandLine } from '#test/support/command-line.ts'

/**
 * `npm test`: the whole check, in the order of what it costs, and at the end one line that counts. A part that could not run at all is a
 * failure of its own: nothing is skipped in silence. `--only PART` runs one part; `--keep-cluster` leaves the cluster up for looking around.
 */

type Counts = { readonly passed: number; readonly failed: number }
type Part = { readonly name: string; readonly run: () => Promise<Counts> }

const say = (text: string): void => console.log(text)

const PARTS: readonly Part[] = [
  { name: 'format', run: () => command('oxfmt', '--check') },
  { name: 'lint', run: () => command('oxlint', '--type-aware', '--deny-warnings') },
  { name: 'types', run: () => command('tsc', '-p', '.') },
  { name: 'unit', run: () => vitest('unit') },
  { name: 'long', run: () => vitest('long') },
  { name: 'apiserver', run: apiServerTests },
  { name: 'cluster', run: cluster },
  { name: 'scenarios', run: scenarios },
]

const { values } = parseOptions({
  options: { only: { type: 'string', multiple: true }, 'keep-cluster': { type: 'boolean', default: false } },
})
const unknown = (values.only ?? []).filter((name) => !PARTS.some((part) => part.name === name))
if (unknown.length > 0) {
  refuseCommandLine(`--only must be one of ${PARTS.map((part) => part.name).join(', ')}, was ${unknown.join(', ')}`)
}
/** Before anything of ours ran. */
const wasUp = (await clusterStatus()).size !== undefined
process.exitCode = await runParts(PARTS.filter((part) => values.only === undefined || values.only.includes(part.name)))

async function runParts(parts: readonly Part[]): Promise<number> {
  const lines: string[] = []
  let total: Counts = { passed: 0, failed: 0 }
  for (const part of parts) {
    say(`\n━━ ${part.name}`)
    const started = performance.now()
    const counts = await part.run().catch((error: unknown): Counts => {
      console.error(error)
      return { passed: 0, failed: 1 }
    })
    total = { passed: total.passed + counts.passed, failed: total.failed + counts.failed }
    lines.push(
      `${part.name.padEnd(12)} ${Math.round((performance.now() - started) / 1000)} s, ${counts.passed} passed, ${counts.failed} failed`,
    )
  }
  say(`\n${lines.join('\n')}\n`)
  say(`${total.passed} passed, ${total.failed} failed`)
  return total.failed === 0 && total.passed > 0 ? 0 : 1
}

async function command(...argv: readonly string[]): Promise<Counts> {
  return (await exitCode(argv)) === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
}

/** vitest's own count; a run that ends badly without a failed test (a file that does not load, a leak) counts as one failure. */
async function vitest(project: string): Promise<Counts> {
  const directory = await mkdtemp(join(tmpdir(), 'mtafleet-check-'))
  const report = join(directory, 'report.json')
  try {
    const code = await exitCode(['vitest', 'run', '--project', project, '--reporter=dot', '--reporter=json', `--outputFile.json=${report}`])
    const counted = JSON.parse(await readFile(report, 'utf8')) as { numPassedTests: number; numFailedTests: number; numTotalTests: number }
    const failed = Math.max(counted.numFailedTests, code === 0 ? 0 : 1)
    return { passed: counted.numPassedTests, failed: counted.numTotalTests === 0 ? Math.max(1, failed) : failed }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function apiServerTests(): Promise<Counts> {
  await ensureBinaries(undefined, say)
  return vitest('apiserver')
}

/** What `npm run cluster` promises: up twice is harmless, down leaves nothing behind even when half of it was killed, and the next up is whole. */
async function cluster(): Promise<Counts> {
  if ((await clusterStatus()).size !== undefined) {
    say('left out: a cluster is up, and taking it down is not for a test to decide (npm run cluster -- down)')
    return { passed: 0, failed: 0 }
  }
  await clusterUp({ onProgress: say })
  const first = (await clusterStatus()).processes
  await clusterUp({ onProgress: say })
  const twice = isDeepStrictEqual((await clusterStatus()).processes, first)
  await powerOff(2)
  await stopApiServer()
  await clusterDown(say)
  const { leftovers } = await clusterStatus()
  const started = performance.now()
  await clusterUp({ onProgress: say })
  const seconds = Math.round((performance.now() - started) / 1000)
  const promises: readonly (readonly [string, boolean])[] = [
    ['up twice changes nothing', twice],
    [`down leaves nothing behind, left: ${leftovers.join(', ') || 'nothing'}`, leftovers.length === 0],
    [`up after down brings all back (${seconds} s)`, isDeepStrictEqual((await clusterStatus()).processes, first)],
  ]
  for (const [promise, held] of promises) say(`${held ? '✔' : '✘'} ${promise}`)
  return { passed: promises.filter(([, held]) => held).length, failed: promises.filter(([, held]) => !held).length }
}

/** A cluster that was up before stays up: somebody is looking at it. */
async function scenarios(): Promise<Counts> {
  try {
    await using fleet = await openFleet({ say })
    const played = await playScenarios(EVERY_TIME, fleet, say)
    say(`\n${played.map(summarise).join('\n')}`)
    return {
      passed: played.filter((one) => one.result === 'passed').length,
      failed: played.filter((one) => one.result === 'failed').length,
    }
  } finally {
    if (!wasUp && !values['keep-cluster']) {
      await internetDown()
      await clusterDown(say)
    }
  }
}

/** With the reason where there is one: what was printed with it further up may be long, and cut by whoever keeps the log. */
function summarise(one: Played): string {
  const line = `${one.result.padEnd(7)} ${one.name.padEnd(24)} ${one.seconds} s`
  return one.failure === undefined ? line : `${line}\n        ${one.failure.split('\n').slice(0, 4).join('\n        ')}`
}

function exitCode(argv: readonly string[]): Promise<number> {
  const [file, ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawn(file!, args, { stdio: 'inherit' })
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)))
  })
}
