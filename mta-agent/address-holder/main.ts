import { setTimeout as sleep } from 'node:timers/promises'
import { announce } from './announce.ts'
import { monotonicMillis } from './clock.ts'
import { Holder } from './holder.ts'
import { openKernel } from './ip-kernel.ts'
import { IpProcess } from './ip-process.ts'
import { openLog } from './log.ts'
import { openServer } from './server.ts'

/**
 * The address holder: `node mta-agent/address-holder/main.ts --socket FILE`, beside an agent, with NET_ADMIN and NET_RAW. After SIGTERM it goes on
 * until its agent has gone, so that mail under way keeps its address; then its addresses are removed and it ends with status 0.
 */

/** Far above what a call takes on a busy node (README.md), and far below a lifetime. */
const CALL_TIMEOUT_MILLIS = 1_000

const log = openLog(
  (line) => process.stdout.write(line),
  () => new Date(),
)

// Nobody reads the log any more: no reason to let addresses go.
process.stdout.on('error', () => {})

async function main(args: readonly string[]): Promise<void> {
  const [option, path, ...more] = args
  if (option !== '--socket' || !path || more.length > 0) throw new Error(`usage: --socket FILE, was ${JSON.stringify(args.join(' '))}`)
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve())
  })
  await using ip = new IpProcess(CALL_TIMEOUT_MILLIS)
  const holder = new Holder({
    kernel: openKernel(ip),
    clock: monotonicMillis,
    sleep: (millis) => sleep(millis),
    announce,
    onTrouble: (message, error) => log.error(message, { error }),
  })
  const server = await openServer({ path, holder, clock: monotonicMillis, log })
  log.info('ready', { path })
  await stopped
  log.info('stopping when the agent has gone', {})
  await server.close()
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  log.error('cannot go on', { error })
  process.exitCode = 1
}
