import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { runAgent, type DocumentSource } from './agent.ts'
import { readConfig, type Config } from './config.ts'
import { describeFault, writeTerminationLog } from './fatal.ts'
import { openFileSource } from './file-source.ts'
import { openLog } from './log.ts'

/**
 * The agent: `node mta-agent/main.ts --config FILE`, or in a Pod by its environment. Exit status 0 after SIGTERM, 1 with last words when it
 * cannot start or go on. A second SIGTERM ends running transactions, a third ends the process.
 */

const log = openLog('Info')
const stop = new AbortController()
const force = new AbortController()
/** How long closing may take when the process ends for a fault: what is on disk is safe, and a hanging process helps nobody. */
const LAST_MILLIS = 5_000
let terminationLog = ''

function onTerm(): void {
  if (force.signal.aborted) process.exit(1)
  if (stop.signal.aborted) force.abort()
  stop.abort()
}

function onBroken(error: unknown): void {
  setTimeout(() => die(error), LAST_MILLIS).unref()
}

function die(error: unknown): void {
  const lines = describeFault(error)
  for (const line of lines) log.fatal({ fault: line }, 'cannot go on')
  if (error instanceof Error) log.debug({ error }, 'the error in full')
  if (terminationLog !== '') writeTerminationLog(terminationLog, lines)
  process.exit(1)
}

async function openSource(config: Config): Promise<DocumentSource & AsyncDisposable> {
  if (config.source.kind === 'file') return openFileSource(config.source.path, log)
  // Loaded only where there is a cluster: the HTTP client alone takes 30 MB of memory.
  const [{ openInstanceClient }, { openInCluster }] = await Promise.all([import('./instance-client.ts'), import('#kube/config.ts')])
  return openInstanceClient(await openInCluster(process.env), config.source, log)
}

async function main(): Promise<void> {
  const config = readConfig(process.env, process.argv.slice(2))
  terminationLog = config.terminationLog
  await using source = await openSource(config)
  const host = { hostName: hostname(), podAddress: config.podAddress, place: config.source.kind === 'file' ? 'alone' : 'pod' } as const
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  const volume = config.queueVolumeUid === undefined ? {} : { queueVolumeUid: config.queueVolumeUid }
  const api = config.source.kind === 'cluster' ? { api: { kind: 'pod', environment: process.env } as const } : {}
  await runAgent({
    source,
    host,
    ...api,
    ...volume,
    log,
    version,
    graceMillis: config.graceMillis,
    stop: stop.signal,
    force: force.signal,
    onBroken,
  })
}

process.on('SIGTERM', onTerm)
process.on('SIGINT', onTerm)
process.on('uncaughtException', die)
try {
  await main()
  process.exit(0)
} catch (error) {
  die(error)
}
