import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

/** Its only thread for asynchronous writes is busy while the process logs and ends, as threads are on a loaded machine. */
const BUSY_PROCESS = `
import { scrypt } from 'node:crypto'
import { openLog } from ${JSON.stringify(new URL('log.ts', import.meta.url).href)}
scrypt('password', 'salt', 32, { N: 2 ** 16, maxmem: 2 ** 27 }, () => {})
const log = openLog('Info')
for (const word of ['delivered', 'stopping', 'stopped']) log.info({}, word)
process.exit(0)
`

test('the last words of a process come last, however busy it is when it ends', { timeout: 30_000 }, async () => {
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' }
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', BUSY_PROCESS], { env })
  const words = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg)
  expect(words).toEqual(['delivered', 'stopping', 'stopped'])
})
