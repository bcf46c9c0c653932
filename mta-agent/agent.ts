import { randomBytes } from 'node:crypto'
import { statfsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { formatTime } from '#crds/conditions.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { openAdminServer } from './admin/server.ts'
import { ConfigFault } from './config.ts'
import type { QueueReport } from './contract/admin-api.ts'
import { openCredentials, type Credentials } from './credentials.ts'
import { DamagedMail } from './damaged-mail.ts'
import { DocumentKeeper } from './document-keeper.ts'
import type { Permission, Scheduler, SchedulerOptions } from './delivery/ports.ts'
import { openScheduler } from './delivery/scheduler.ts'
import { healthOf, judgeReady, type Activity } from './health.ts'
import { announce, setLevel, type AgentLog } from './log.ts'
import { openAddresses } from './open-addresses.ts'
import type { ManagedAddresses } from './managed-addresses.ts'
import { openMetrics } from './metrics.ts'
import { registerReplication } from './replication-metrics.ts'
import type { LogQueueStore } from './queue/log-queue.ts'
import { openLmdbQueueStore } from './queue/lmdb-queue-store.ts'
import type { QueueStore } from './queue/queue-store.ts'
import { ALONE } from './address-plan.ts'
import { presentAddresses } from './addresses.ts'
import { runReporting, type Report, type ReportFacts } from './report.ts'
import type { ApiAccess } from './replication/coordinator/messages.ts'
import { RoleDelivery } from './role-delivery.ts'
import { RoomWatch } from './room-watch.ts'
import { runScrubbing } from './scrubbing.ts'
import type { Shard, ShardOptions } from './shard.ts'
import { NO_RECORD, planSettings, type Host, type Settings } from './settings.ts'
import { openSubmission, type Submission } from './submission/listener.ts'

/**
 * The running agent: opens its parts in the order in which mail passes them, follows its document, and closes in reverse. Mail that was
 * acknowledged is on disk by then, so there is no way to end this process that loses any.
 */

export type AgentPorts = {
  readonly source: DocumentSource
  readonly host: Host
  /** The queue volume's Kubernetes UID; undefined outside a cluster. */
  readonly queueVolumeUid?: string
  /** How an instance of a shard finds the API server; undefined outside a cluster. */
  readonly api?: ApiAccess
  readonly log: AgentLog
  readonly version: string
  readonly graceMillis: number
  /** First SIGTERM: stop accepting, let what runs end. */
  readonly stop: AbortSignal
  /** Second SIGTERM: end what runs. */
  readonly force: AbortSignal
  /** Called at once when a part cannot go on; runAgent then closes what it can, and rejects. */
  readonly onBroken: (error: unknown) => void
}

/** Where the document comes from: a file, or the API server. */
export type DocumentSource = {
  readFirst(signal: AbortSignal): Promise<MTAInstance>
  follow(onChange: (instance: MTAInstance) => void, signal: AbortSignal): Promise<void>
  /** Tells the world; rejects when it could not. */
  write(instance: MTAInstance, report: Report, signal: AbortSignal): Promise<void>
  keep(instance: MTAInstance, directory: string): Promise<void>
  /** Takes away what was kept there. */
  forget(directory: string): Promise<void>
}

/** Runs until `stop`; resolves when everything is closed. Throws ConfigFault, and what a part could not go on with. */
export async function runAgent(ports: AgentPorts): Promise<void> {
  const document = await untilStopped(ports.source.readFirst(ports.stop), ports.stop)
  if (document === undefined) return
  const running = new RunningAgent(ports, planSettings(document, ports.host), document)
  await running.run()
}

class RunningAgent {
  readonly #ports: AgentPorts
  readonly #conditions: NonNullable<MTAInstance['status']>['conditions']
  readonly #broken = Promise.withResolvers<never>()
  readonly #wake = new Wake()
  #settings: Settings
  #stopping = false
  /** Generation of the document that was taken last. */
  #taken: number | undefined
  readonly #keeper: DocumentKeeper
  #parts: Parts | undefined
  #shard: Shard | undefined
  #addresses: ManagedAddresses | undefined

  constructor(ports: AgentPorts, settings: Settings, document: MTAInstance) {
    this.#ports = ports
    this.#settings = settings
    const { queue } = settings.instance.spec.directories
    this.#keeper = new DocumentKeeper({
      keep: (instance) => ports.source.keep(instance, queue),
      forget: () => ports.source.forget(queue),
      onChange: () => this.#wake.poke(),
      onFailure: (error) => ports.log.warn({ error }, 'document not kept'),
    })
    this.#conditions = document.status?.conditions
    this.#taken = document.metadata.generation
    // Awaited below, and rejected at most once; without this a fault during start would count as unhandled.
    this.#broken.promise.catch(() => undefined)
  }

  async run(): Promise<void> {
    const { log, source, stop } = this.#ports
    setLevel(log, this.#settings.instance.spec.agent.logLevel)
    await using resources = new AsyncDisposableStack()
    const parts = await this.#open(resources)
    this.#parts = parts
    const ended = new AbortController()
    // All begin here, and from here on somebody hears when one of them fails: nothing is awaited in between.
    const siblings = [
      source.follow((instance) => this.#take(instance), ended.signal),
      this.#scrub(parts, ended.signal),
      this.#keepThenReport(ended.signal),
    ]
    announce(log, { ports: parts.ports, mode: this.#settings.submission.mode, version: this.#ports.version }, 'ready')
    try {
      await Promise.race([aborted(stop), this.#broken.promise, ...siblings])
    } finally {
      this.#stopping = true
      log.info({ inFlight: parts.scheduler.inFlight() }, 'stopping')
      this.#wake.poke()
      try {
        await Promise.race([this.#drain(parts), this.#broken.promise])
      } finally {
        ended.abort()
      }
      await Promise.all([...siblings, this.#keeper.settled()])
    }
    log.info({}, 'stopped')
  }

  /** All of it within the grace: behind that comes SIGKILL. */
  async #drain({ store, submission, scheduler }: Parts): Promise<void> {
    const { graceMillis, force } = this.#ports
    const since = performance.now()
    const grace = AbortSignal.any([AbortSignal.timeout(graceMillis), force])
    if (this.#shard !== undefined) {
      // A scheduler that comes and goes with the role does not end the waiting of the store, which stays.
      grace.addEventListener('abort', () => store.stopWaiting(), { once: true })
      // A standby that is told is primary within a second, one that is not within ten.
      await this.#shard.handOver(AbortSignal.any([AbortSignal.timeout(graceMillis / 2), force]))
    }
    const left = Math.max(0, graceMillis - (performance.now() - since))
    await Promise.all([submission.drain(grace), scheduler.stop(left)])
  }

  async #open(resources: AsyncDisposableStack): Promise<Parts> {
    const { log } = this.#ports
    const { spec } = this.#settings.instance
    const store = resources.use(await this.#openStore())
    const credentials = resources.use(
      await openCredentials({ directories: spec.directories, onChange: (what) => this.#noteCredentials(what) }),
    )
    const metrics = openMetrics({
      totals: () => store.totals(),
      handled: () => (this.#leads() ? store.handled() : undefined),
      inFlight: () => this.#parts?.scheduler.inFlight() ?? 0,
      clock: Date.now,
    })
    const damagedMail = new DamagedMail({ log, counter: metrics.damaged, onDamage: () => this.#wake.poke() })
    const roomWatch = new RoomWatch(spec.replication ? this.#intakeOf(store) : store, Date.now)
    const submission = resources.use(
      await openSubmission({
        settings: () => this.#settings.submission,
        store: roomWatch,
        ...(spec.replication && { gate: () => this.#shard?.gate() ?? STARTING }),
        users: () => credentials.users(),
        certificate: () => credentials.certificate(),
        log,
        metrics: metrics.submission,
        clock: Date.now,
        random: randomBytes,
      }),
    )
    // Before delivery, so that they are removed after it has ended.
    const addresses = await this.#openAddresses()
    if (addresses !== undefined) this.#addresses = resources.use(addresses)
    const openDelivery = (queue: QueueStore, permission?: Permission): Scheduler =>
      this.#openDelivery({ store: queue, notes: store, metrics: metrics.delivery, ...(permission && { permission }) }, damagedMail)
    const scheduler = resources.use(spec.replication ? this.#openRoleDelivery(openDelivery) : openDelivery(store))
    if (scheduler instanceof RoleDelivery) {
      await this.#openShard(resources, { store, submission, addresses, delivery: scheduler })
      registerReplication(metrics.registry, () => this.#member().status())
    } else addresses?.hold(() => ALONE)
    const admin = resources.use(
      await openAdminServer(spec.ports.admin, {
        live: () => ({ status: 'ok', reason: 'Alive', message: 'the queue is open' }),
        ready: () => healthOf(judgeReady(this.#activity(store, scheduler))),
        queue: () => queueReport(store, scheduler),
        metrics: metrics.registry,
      }),
    )
    return { store, roomWatch, credentials, submission, scheduler, damagedMail, ports: { ...submission.ports, admin: admin.port } }
  }

  /** Of an instance of a shard: what is committed is taken, and by the primary only. */
  #intakeOf(store: LogQueueStore): Pick<QueueStore, 'append' | 'room'> {
    return { append: (message) => this.#member().append(message), room: (size) => store.room(size) }
  }

  #openStore(): Promise<LogQueueStore> {
    const { queueVolumeUid } = this.#ports
    const { metadata, spec } = this.#settings.instance
    const stream = metadata.namespace === undefined ? spec.streamRef.name : `${metadata.namespace}/${spec.streamRef.name}`
    return openLmdbQueueStore({
      directory: spec.directories.queue,
      shard: { stream, shard: spec.shard },
      ...(queueVolumeUid !== undefined && { volume: queueVolumeUid }),
      clock: Date.now,
      onBroken: (error: unknown) => this.#breakWith(error),
      ...(spec.replication && {
        replicated: true,
        neededFrom: () => this.#shard?.neededFrom() ?? Infinity,
        onSyncing: (underWay: boolean) => this.#shard?.noteSyncing(underWay),
      }),
    })
  }

  #openDelivery(own: Pick<SchedulerOptions, 'store' | 'notes' | 'metrics' | 'permission'>, damagedMail: DamagedMail): Scheduler {
    return openScheduler({
      ...own,
      settings: () => this.#settings.instance.spec,
      log: this.#ports.log,
      clock: Date.now,
      random: Math.random,
      ...(this.#addresses && { attachmentOf: (address: string) => this.#addresses?.attachmentOf(address) }),
      signal: this.#ports.force,
      onAddresses: () => this.#wake.poke(),
      onDamage: (queueId, damage) => damagedMail.note(queueId, damage),
      onBroken: (error: unknown) => this.#breakWith(error),
    })
  }

  #openAddresses(): Promise<ManagedAddresses | undefined> {
    return openAddresses({
      settings: () => this.#settings.instance.spec,
      used: () => this.#parts?.scheduler.usedAddresses() ?? [],
      onChange: () => {
        this.#parts?.scheduler.reconfigure()
        this.#wake.poke()
      },
      log: this.#ports.log,
    })
  }

  #openRoleDelivery(open: (queue: QueueStore, permission: Permission) => Scheduler): RoleDelivery {
    return new RoleDelivery({
      open: (queue) => open(queue, this.#member().permission),
      assigned: () => this.#settings.instance.spec.addresses.map(({ address }) => address),
    })
  }

  /** Loaded only where there are standbys: all else runs without any of it. */
  async #openShard(
    resources: AsyncDisposableStack,
    parts: Pick<ShardOptions, 'store' | 'delivery' | 'addresses'> & Pick<Parts, 'submission'>,
  ): Promise<void> {
    const { host, log, api } = this.#ports
    const { instance, submission } = this.#settings
    if (api === undefined) throw new ConfigFault([NO_RECORD])
    const { openShard } = await import('./shard.ts')
    const { submission: port, submissions } = parts.submission.ports
    this.#shard = await openShard({
      instance,
      ...parts,
      interruptClients: () => parts.submission.interrupt(),
      api,
      listenAddress: submission.listenAddress ?? '::',
      endpoint: {
        address: host.podAddress ?? submission.listenAddress ?? '',
        ports: [{ name: 'submission', port }, ...(submissions === undefined ? [] : [{ name: 'submissions', port: submissions }])],
      },
      log,
      onChange: () => this.#wake.poke(),
      onBroken: (error) => this.#breakWith(error),
    })
    resources.use(this.#shard)
  }

  #member(): Shard {
    if (this.#shard === undefined) throw new Error('the shard must be open, was not')
    return this.#shard
  }

  #breakWith(error: unknown): void {
    this.#ports.onBroken(error)
    this.#broken.reject(error)
  }

  /** A changed document. What is wrong with it is told, and the one before stays in force. */
  #take(instance: MTAInstance): void {
    const { log } = this.#ports
    // Its annotations ask for something and change no generation.
    this.#shard?.take(instance)
    const { generation } = instance.metadata
    // Our own reports change the object too; only another generation is another document. A file has none and is read when asked to.
    if (generation !== undefined && generation === this.#taken) return
    this.#taken = generation
    try {
      this.#settings = planSettings(instance, this.#ports.host, this.#settings)
    } catch (error) {
      if (!(error instanceof ConfigFault)) throw error
      log.error({ faults: error.lines }, 'document refused')
      return
    }
    const { spec, metadata } = this.#settings.instance
    setLevel(log, spec.agent.logLevel)
    log.info({ generation: metadata.generation, mode: spec.mode }, 'document taken')
    if (this.#settings.restartNeeded.length > 0) log.warn({ fields: this.#settings.restartNeeded }, 'another process is needed')
    this.#parts?.scheduler.reconfigure()
    this.#addresses?.reconsider()
    this.#reconfigureSubmission()
    void this.#keeper.keep(this.#settings.instance)
    this.#wake.poke()
  }

  #noteCredentials(what: 'certificate' | 'users'): void {
    const judged = this.#parts?.credentials.judge(Date.now())
    this.#ports.log[judged?.status === 'True' ? 'info' : 'error']({ what, ...judged }, 'credentials read')
    this.#reconfigureSubmission()
    this.#wake.poke()
  }

  #reconfigureSubmission(): void {
    // It can fail where the port of implicit TLS, opened late, is taken: then the agent ends as it would have at its start.
    this.#parts?.submission.reconfigure().catch((error: unknown) => this.#breakWith(error))
  }

  /** In this order: what a process before this one has kept may name addresses that this one does not have. */
  async #keepThenReport(signal: AbortSignal): Promise<void> {
    await this.#keeper.keep(this.#settings.instance)
    await runReporting(
      {
        facts: () => this.#facts(),
        write: (report, until) => this.#ports.source.write(this.#settings.instance, report, until),
        clock: Date.now,
        sleep: (millis, until) => this.#wake.sleep(millis, until),
        onFailure: (error) => this.#ports.log.warn({ error: error instanceof Error ? error.message : error }, 'report not written'),
        conditions: this.#conditions,
      },
      signal,
    )
  }

  #scrub({ store, damagedMail }: Parts, signal: AbortSignal): Promise<void> {
    return runScrubbing(
      {
        scrub: (until) =>
          store.scrub(until, {
            onDamage: (queueId, damage) => damagedMail.note(queueId, damage),
            rest: () => pause(SCRUB_REST_MILLIS, until),
          }),
        sleep: pause,
        random: Math.random,
        log: this.#ports.log,
      },
      signal,
    )
  }

  #facts(): ReportFacts {
    const { instance, restartNeeded } = this.#settings
    const { store, roomWatch, scheduler, credentials, damagedMail } = this.#opened()
    const wanted = instance.spec.addresses.map(({ address }) => address)
    const managed = this.#addresses?.report()
    const directory = instance.spec.directories.queue
    const { bavail, blocks, bsize } = statfsSync(directory)
    return {
      generation: instance.metadata.generation,
      version: this.#ports.version,
      activity: this.#activity(store, scheduler),
      restartNeeded,
      wantedAddresses: wanted,
      presentAddresses: managed?.held ?? presentAddresses(wanted, networkInterfaces()),
      ...(managed && { managed }),
      // One that was taken out of the document is free when no connection is open from it, when what is kept does not name it either, and where it was
      // brought, when it is gone again.
      usedAddresses: [...new Set([...scheduler.usedAddresses(), ...this.#keeper.addresses(), ...(this.#addresses?.there() ?? [])])],
      unbindable: scheduler.unavailableAddresses(),
      credentials: credentials.judge(Date.now()),
      storage: {
        directory,
        freeBytes: bavail * bsize,
        volumeBytes: blocks * bsize,
        refusesMail: roomWatch.refusesMail(),
        damagedMessages: damagedMail.count(),
      },
      ...(this.#shard && { replication: this.#shard.status() }),
    }
  }

  /** Whether this instance takes mail in and delivers it: of a shard, the primary alone. */
  #leads(): boolean {
    if (this.#settings.instance.spec.replication === undefined) return true
    return this.#shard !== undefined && this.#shard.activity().gate !== 'Standby'
  }

  #opened(): Parts {
    if (this.#parts === undefined) throw new Error('nothing is open yet')
    return this.#parts
  }

  #activity(store: QueueStore, scheduler: Scheduler): Activity {
    return {
      mode: this.#settings.submission.mode,
      stopping: this.#stopping,
      room: store.room(0),
      totals: store.totals(),
      receiving: this.#parts?.submission.receiving() ?? 0,
      inFlight: scheduler.inFlight(),
      ...(this.#shard && { member: this.#shard.activity() }),
    }
  }
}

/** What clients of an instance with standbys are told until it knows its shard. */
const STARTING = { code: 421, enhanced: '4.3.2', text: 'this instance is starting; try again' } as const

/** After each mebibyte: at most ten a second are read, and 20 GB take half an hour. */
const SCRUB_REST_MILLIS = 100

type Parts = {
  readonly store: LogQueueStore
  readonly roomWatch: RoomWatch
  readonly damagedMail: DamagedMail
  readonly credentials: Credentials
  readonly submission: Submission
  readonly scheduler: Scheduler
  readonly ports: Submission['ports'] & { readonly admin: number }
}

function queueReport(store: QueueStore, scheduler: Scheduler): QueueReport {
  const { oldestAcceptedAt, ...totals } = store.totals()
  const oldest = oldestAcceptedAt === undefined ? {} : { oldestTime: formatTime(oldestAcceptedAt) }
  return { ...totals, inFlight: scheduler.inFlight(), ...oldest }
}

/** Ends early, without a fault, when the signal aborts. */
const pause = (millis: number, signal: AbortSignal): Promise<void> => wait(millis, undefined, { signal, ref: false }).catch(() => undefined)

/** A sleep that others can end. */
class Wake {
  #poked = new AbortController()

  poke(): void {
    this.#poked.abort()
  }

  async sleep(millis: number, signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([this.#poked.signal, signal])
    await pause(millis, until)
    this.#poked = new AbortController()
  }
}

/** undefined when the signal ended the wait; a fault that has nothing to do with it is thrown. */
async function untilStopped<T>(waited: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await waited
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
