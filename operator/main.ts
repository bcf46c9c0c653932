import { randomUUID } from 'node:crypto'
import { type Client, openClient } from '#kube/client.ts'
import { systemClock } from '#kube/clock.ts'
import { openInCluster, openKubeconfig } from '#kube/config.ts'
import { openEvents } from '#kube/events.ts'
import { acquireLease, LeaseLost } from '#kube/lease.ts'
import { type Config, ConfigFault, readConfig } from './config.ts'
import { Fleet } from './fleet.ts'
import { openHealthServer } from './health.ts'
import { type Log, openLog } from './log.ts'
import { type Metrics, openMetrics } from './metrics.ts'
import { Operator } from './operator.ts'
import { runReign, stopMillisOf } from './reign.ts'

/**
 * The operator: config → client → caches → controllers, then waiting for SIGTERM. Every replica keeps its caches warm, one leads. A replica that loses the lead stops
 * all its reconciles before anyone can follow, and stands again; if they do not stop, the process ends.
 */

async function main(env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const config = readConfig(env)
  const log = openLog(config)
  const metrics = openMetrics()
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(new Stopped(signal)))
  try {
    const server = config.kubeconfig === undefined ? await openInCluster(env) : await openKubeconfig(config.kubeconfig)
    await using client = openClient(server, { onCall: (report) => metrics.observeCall(report) })
    await run({ config, log, metrics, client, stop })
  } catch (error) {
    if (!(error instanceof Stopped)) {
      log.fatal({ error }, 'ended by an error')
      return 1
    }
    log.info({ signal: error.message }, 'stopped')
  }
  return 0
}

class Stopped extends Error {
  override readonly name = 'Stopped'
}

type Parts = {
  readonly config: Config
  readonly log: Log
  readonly metrics: Metrics
  readonly client: Client
  /** Aborted by whatever ends the process: a signal, or a part that failed. */
  readonly stop: AbortController
}

async function run(parts: Parts): Promise<void> {
  const { config, log, metrics, client, stop } = parts
  await using events = openEvents({
    client,
    controller: 'mtafleet.io/operator',
    instance: config.podName,
    clock: systemClock,
    onLoss: (event, why) => {
      metrics.countLostEvent(why instanceof Error ? 'Failed' : why)
      log.warn({ regarding: event.regarding, reason: event.reason, why }, 'event lost')
    },
  })
  const fleet = new Fleet({
    client,
    namespaces: config.watchNamespaces,
    clock: systemClock,
    settings: { agentImage: config.agentImage, agentImagePullSecrets: config.agentImagePullSecrets, ports: config.ports },
    onReport: (kind, report) => {
      metrics.observeReflector(kind, report)
      if (report.kind === 'failed')
        log.warn({ kind, step: report.step, error: report.error, retryMillis: report.retryMillis }, 'watch failed')
      else log.debug({ ...report, step: report.kind, kind }, 'watch')
    },
  })
  const operator = new Operator({ client, fleet, events, clock: systemClock, log, metrics })
  await using http = await openHealthServer(config.http, operator, metrics.registry)
  log.info({ port: http.port, namespaces: config.watchNamespaces, agentImage: config.agentImage }, 'started')

  const watching = supervise(fleet.run(stop.signal), stop)
  try {
    await fleet.waitForSync(stop.signal)
    log.info('caches filled')
    await lead(parts, operator)
  } finally {
    stop.abort(new Stopped('ended'))
    await watching
  }
}

/** Stands for the lead, leads, and stands again when it was lost: an API server that is away for a while is no reason to end. */
async function lead(parts: Parts, operator: Operator): Promise<void> {
  const { signal } = parts.stop
  const identity = `${parts.config.podName}_${randomUUID()}`
  while (!signal.aborted) await reign(parts, operator, identity)
  signal.throwIfAborted()
}

async function reign({ config, log, metrics, client, stop }: Parts, operator: Operator, identity: string): Promise<void> {
  const { name, durationMillis, renewDeadlineMillis, retryMillis } = config.lease
  await using lease = await acquireLease(
    {
      client,
      key: { namespace: config.namespace, name },
      identity,
      times: {
        leaseDurationMillis: durationMillis,
        renewDeadlineMillis,
        retryMillis,
        callMillis: Math.min(5000, Math.floor((renewDeadlineMillis - retryMillis) / 2)),
      },
      clock: systemClock,
      onReport: (report) => log.info(report, 'lease'),
    },
    stop.signal,
  )
  metrics.setLeading(1)
  log.info('leading')
  try {
    await runReign({ lease, work: (end) => operator.run(end), stop: stop.signal, stopMillis: stopMillisOf(config.lease) })
  } catch (error) {
    // Whatever is still running must end before the lease does: nothing is waited for, and nothing closed in good order.
    log.fatal({ error }, 'ended by an error')
    process.exit(1)
  }
  metrics.setLeading(0)
  if (lease.lost.aborted)
    log.warn({ because: lease.lost.reason instanceof LeaseLost ? lease.lost.reason.because : lease.lost.reason }, 'lead lost')
}

/** A part that fails ends the process: half an operator is worse than none. */
async function supervise(part: Promise<void>, stop: AbortController): Promise<void> {
  try {
    await part
  } catch (error) {
    stop.abort(error)
  }
}

try {
  process.exitCode = await main(process.env)
} catch (error) {
  if (!(error instanceof ConfigFault)) throw error
  openLog({ logLevel: 'Error', podName: process.env['POD_NAME'] ?? '' }).fatal({ fault: error.message }, 'cannot go on')
  process.exitCode = 1
}
