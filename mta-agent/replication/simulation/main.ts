import { argv, exit, stdout } from 'node:process'
import { performance } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { type ProfileName, PROFILES } from './profiles.ts'
import { runSeed } from './run.ts'

/**
 * `npm run simulate -- --seeds 100000 [--from N]`: runs seeds until one fails, then shows it. `--seed N` runs one, with `--trace` in full.
 * `--profile NAME` plays every seed in that profile; `--all` goes on after a failure.
 * Exit status 1: a property of README.md, section 1, did not hold.
 */
const OPTIONS = {
  seeds: { type: 'string', default: '2000' },
  from: { type: 'string', default: '1' },
  seed: { type: 'string' },
  trace: { type: 'boolean', default: false },
  all: { type: 'boolean', default: false },
  profile: { type: 'string' },
} as const

const write = (line: string): void => void stdout.write(`${line}\n`)
const { values } = parseOptions()
const profile = Object.keys(PROFILES).find((name): name is ProfileName => name === values.profile)

function parseOptions() {
  try {
    return parseArgs({ args: argv.slice(2), options: OPTIONS })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    write(
      `must be ${Object.keys(OPTIONS)
        .map((name) => `--${name}`)
        .join(', ')}: ${error.message}`,
    )
    return exit(2)
  }
}

function parseCount(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  write(`a seed, and a number of seeds, must be a whole number that is at least 1, was ${text}`)
  return exit(2)
}

if (values.profile !== undefined && profile === undefined) {
  write(`--profile must be one of ${Object.keys(PROFILES).join(', ')}, was ${values.profile}`)
  exit(2)
}
exit(values.seed === undefined ? runMany(parseCount(values.from), parseCount(values.seeds)) : runOne(parseCount(values.seed)))

function runOne(seed: number): number {
  const outcome = runSeed(seed, { trace: values.trace ? write : undefined, profile })
  write(JSON.stringify(outcome))
  return outcome.violation === undefined ? 0 : 1
}

function runMany(from: number, seeds: number): number {
  const started = performance.now()
  let failed = 0
  const total = { steps: 0, lasted: 0, epochs: 0, submitted: 0, acknowledged: 0, delivered: 0, twice: 0 }
  for (let seed = from; seed < from + seeds; seed++) {
    const { violation, profile: name, counts, ...rest } = runSeed(seed, { profile })
    for (const key of ['steps', 'lasted', 'epochs'] as const) total[key] += rest[key]
    for (const key of ['submitted', 'acknowledged', 'delivered', 'twice'] as const) total[key] += counts[key]
    if (violation === undefined) continue
    failed += 1
    write(`seed ${seed} (${name}) fails: ${violation}`)
    if (!values.all) {
      runSeed(seed, { trace: write, profile })
      break
    }
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1)
  write(`${failed === 0 ? `${seeds} seeds passed, the first was ${from},` : `${failed} failed`} in ${seconds} s: ${JSON.stringify(total)}`)
  return failed === 0 ? 0 : 1
}
