import { FAILOVER } from './failover.ts'
import { REPLICATION } from './replication.ts'

/** `npm run bench` lists what can be measured; `npm run bench -- NAME [OPTIONS]` measures it. What it prints are ratios from one run on one machine. */

export type Bench = {
  readonly name: string
  readonly measures: string
  readonly options: string
  run(args: readonly string[]): Promise<void>
}

const BENCHES: readonly Bench[] = [REPLICATION, FAILOVER]

const [name, ...args] = process.argv.slice(2)
const chosen = BENCHES.find((bench) => bench.name === name)
if (chosen !== undefined) {
  await chosen.run(args)
} else {
  for (const { name: known, measures, options } of BENCHES) console.log(`${known.padEnd(14)} ${measures}\n${' '.repeat(15)}${options}`)
  if (name !== undefined) {
    console.error(`must be one of these, was ${name}`)
    process.exitCode = 2
  }
}
