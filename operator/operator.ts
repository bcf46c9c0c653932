import type { Client } from '#kube/client.ts'
import type { Clock } from '#kube/clock.ts'
import type { EventRecorder } from '#kube/events.ts'
import { Controller, type ObjectKey, type Reconcile } from './controllers/controller.ts'
import { reconcileIPPool } from './controllers/ip-pool.ts'
import { reconcileMTAInstance } from './controllers/mta-instance.ts'
import { reconcileSendingStream } from './controllers/sending-stream.ts'
import { TokenBucket } from './controllers/token-bucket.ts'
import { type ControllerKind, planSecretWakes, planWakes, type Wake } from './controllers/watches.ts'
import type { Fleet } from './fleet.ts'
import type { Health } from './health.ts'
import { type Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { Secrets } from './secrets.ts'
import { openPorts } from './writes.ts'

/** The three controllers over one fleet, and what wakes them. */

export type OperatorParts = {
  readonly client: Client
  readonly fleet: Fleet
  readonly events: EventRecorder
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Reconciles of the whole process: enough to bring thousands of instances up in a minute, too little to hurt the API server. */
const RATE = { burst: 200, perSecond: 100 }
/** A reconcile has 60 s, a silent watch 150 s, a failed one comes again within 30 s: twice the longest is stuck. */
const STUCK_RECONCILE_MILLIS = 120_000
const STUCK_WATCH_MILLIS = 400_000

export class Operator implements Health {
  readonly #parts: OperatorParts
  readonly #secrets: Secrets
  readonly #controllers: Readonly<Record<ControllerKind, Controller>>
  /** While it does not work, nobody takes keys out of the queues: nothing is put in, for work begins with everything. */
  #isWorking = false

  constructor(parts: OperatorParts) {
    this.#parts = parts
    const { client, fleet, events, clock, log, metrics } = parts
    this.#secrets = new Secrets({
      client,
      clock,
      ours: () => fleet.ours(),
      onChange: (key) => this.#wake(planSecretWakes(key, fleet.ours())),
      onFailure: (key, error) => log.warn({ key, error }, 'secret not read'),
    })
    const ports = openPorts({ client, fleet, secrets: this.#secrets, events, wall: () => clock.wall() })
    const bucket = new TokenBucket(RATE)
    const open = (name: ControllerKind, reconcile: Reconcile, concurrency: number) =>
      new Controller({ name, reconcile, clock, bucket, concurrency, onReport: (report) => this.#observe(name, report) })
    this.#controllers = {
      // One at a time: it gives out addresses and ports, and two plans from one view of the fleet would give the same ones twice.
      SendingStream: open('SendingStream', (key, signal) => reconcileSendingStream(ports, key, signal), 1),
      MTAInstance: open('MTAInstance', (key, signal) => reconcileMTAInstance(ports, key, signal), 10),
      IPPool: open('IPPool', (key, signal) => reconcileIPPool(ports, key, signal), 10),
    }
    fleet.onChange((kind, change) => this.#wake(planWakes(kind, change, fleet.ours())))
    metrics.follow(() => this.#all().map((controller) => [controller.name, controller.depth]))
  }

  /** Works until the signal aborts; resolves when the last reconcile has ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#isWorking = true
    try {
      if (await this.#catchUp(signal)) await this.#work(signal)
    } finally {
      this.#isWorking = false
    }
  }

  /** False when the signal came first. */
  async #catchUp(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#parts.fleet.catchUp(signal)
      return true
    } catch (error) {
      if (!signal.aborted) throw error
      return false
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    const { streams, pools, instances } = this.#parts.fleet.ours()
    const all = [...streams, ...pools, ...instances].map(({ kind, metadata: { namespace = '', name } }) => ({
      kind,
      key: { namespace, name },
    }))
    this.#wake(all)
    await Promise.all([...this.#all().map((controller) => controller.run(signal)), this.#secrets.run(signal)])
  }

  stuck(): readonly string[] {
    const reconciles = this.#all().filter(({ oldestRunningMillis }) => oldestRunningMillis > STUCK_RECONCILE_MILLIS)
    const watches = this.#parts.fleet.stuckFor(STUCK_WATCH_MILLIS)
    return [
      ...reconciles.map(({ name }) => `a reconcile of ${name} does not end`),
      ...watches.map((name) => `the watch of ${name} takes no step`),
    ]
  }

  missing(): readonly string[] {
    return this.#parts.fleet.unsynced().map((kind) => `${kind} has not been listed yet`)
  }

  #all(): readonly Controller[] {
    return Object.values(this.#controllers)
  }

  #wake(wakes: readonly Wake[]): void {
    if (!this.#isWorking) return
    for (const { kind, key } of wakes) this.#controllers[kind].wake(key)
  }

  #observe(controller: ControllerKind, report: Parameters<Metrics['observeReconcile']>[1]): void {
    const { log, metrics } = this.#parts
    metrics.observeReconcile(controller, report)
    const facts: { readonly controller: string; readonly key: ObjectKey } = { controller, key: report.key }
    if (report.kind === 'failed') log.warn({ ...facts, error: report.error, retryMillis: report.retryMillis }, 'reconcile failed')
    else log.debug({ ...facts, millis: Math.round(report.millis), requeue: report.requeue }, 'reconciled')
  }
}
