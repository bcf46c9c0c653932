import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** What somebody reads who mistypes: one line that says what must be, and no stack. */
test.each([
  [
    'test/scenarios/main.ts --nonsense',
    `Unknown option '--nonsense'. To specify a positional argument starting with a '-', place it at the end of the command after '--', as in '-- "--nonsense"`,
  ],
  ['test/scenarios/main.ts --json', "Option '--json <value>' argument missing"],
  ['test/check.ts --nonsense', "Unknown option '--nonsense'"],
  ['scripts/image.ts --nonsense', "Unknown option '--nonsense'"],
  ['test/bench/main.ts failover --runs x', '--runs must be a whole number that is at least 1, was "x"'],
  ['test/bench/main.ts failover --timing Slow', '--timing must be Default or Fast, was Slow'],
  [
    'mta-agent/replication/simulation/main.ts --nonsense',
    "must be --seeds, --from, --seed, --trace, --all, --profile: Unknown option '--nonsense'",
  ],
])('%s: %s', (line, said) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, line.split(' '), { encoding: 'utf8' })
  expect({ status, said: `${stdout}${stderr}` }).toEqual({ status: 2, said: `${said}\n` })
})
