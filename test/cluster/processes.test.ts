import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { hasProgram } from '#test/support/proc.ts'
import { findProcesses, killProcesses, startProcess } from './processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'cluster-'))
process.env['MTAFLEET_CLUSTER_DIR'] = folder

afterAll(async () => {
  await killProcesses('chain', () => findProcesses('chain'))
  rmSync(folder, { recursive: true })
})

const LOOKS = 150
/** Programs that replace each other a few hundred times a second: whoever looks often meets one in between. */
const CHAIN = ['sh', '-c', 'i=${1:-0}; [ "$i" -lt 4000 ] || exec sleep 30; exec sh -c "$0" "$0" $((i + 1))']

test('a process that replaces its program is found at every moment', () => {
  startProcess('chain', [...CHAIN, CHAIN[2]!])
  let missed = 0
  for (let look = 0; look < LOOKS; look++) {
    if (findProcesses('chain').length === 0) missed++
  }
  expect(missed).toBe(0)
})

test.each([
  ['runs', '12 (a) b) R 1 1 1 0 -1 4194304 0', true],
  ['is a zombie', '12 (sh) Z 1 1 1 0 -1 4194304 0', false],
  ['is on its way out', '12 (sh) R 1 1 1 0 -1 4194308 0', false],
  ['is a thread of the kernel', '2 (kthreadd) S 0 0 0 0 -1 2129984 0', false],
  ['is gone', '', false],
])('whether a process that %s has a program', (_, stat, expected) => {
  expect(hasProgram(stat)).toBe(expected)
})
