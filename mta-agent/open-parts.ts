import { randomBytes } from 'node:crypto'
import { ALONE } from './address-plan.ts'
import { openAdminServer } from './admin/server.ts'
import { ConfigFault } from './config.ts'
import { openCredentials, type Credentials } from './credentials.ts'
import { DamagedMail } from './damaged-mail.ts'
import type { Permission, Scheduler, SchedulerOptions } from './delivery/ports.ts'
import { openScheduler } from './delivery/scheduler.ts'
import { healthOf, judgeReady } from './health.ts'
import type { AgentLog } from './log.ts'
import type { ManagedAddresses } from './managed-addresses.ts'
import { type AgentMetrics, openMetrics } from './metrics.ts'
import { openAddresses } from './open-addresses.ts'
import type { LogQueueStore } from './queue/log-queue.ts'
import { openLmdbQueueStore } from './queue/lmdb-queue-store.ts'
import type { QueueStore } from './queue/queue-store.ts'
import { activityOf, type MailParts, queueReport } from './activity.ts'
import { registerReplication } from './replication-metrics.ts'
import type { ApiAccess } from './replication/coordinator/messages.ts'
import { RoleDelivery } from './role-delivery.ts'
import { RoomWatch } from './room-watch.ts'
import { NO_RECORD, type Host, type Settings } from './settings.ts'
import type { Shard } from './shard.ts'
import { openSubmission, type Submission } from './submission/listener.ts'

/**
 * Opens the parts of an agent in the order in which mail passes them, and ties them to each other; what is opened is closed in reverse. An instance without
 * standbys loads nothing of replication.
 */

export type PartsOptions = {
  readonly host: Host
  readonly queueVolumeUid?: string
  readonly api?: ApiAccess
  readonly log: AgentLog
  readonly force: AbortSignal
  /** As they are at the time of asking: they change with the document. */
  readonly settings: () => Settings
  readonly stopping: () => boolean
  /** Something that is reported may have changed. */
  readonly onChange: () => void
  readonly onCredentials: (what: 'certificate' | 'users') => void
  readonly onBroken: (error: unknown) => void
}

export type Parts = {
  readonly store: LogQueueStore
  readonly roomWatch: RoomWatch
  readonly damagedMail: DamagedMail
  readonly credentials: Credentials
  readonly submission: Submission
  readonly scheduler: Scheduler
  /** Of an instance that attaches its addresses itself. */
  readonly addresses: ManagedAddresses | undefined
  /** Of an instance of a shard with standbys. */
  readonly shard: Shard | undefined
  readonly ports: Submission['ports'] & { readonly admin: number }
}

/** Throws ConfigFault, and what a part could not be opened for; `resources` then has what was opened before. */
export const openParts = (options: PartsOptions, resources: AsyncDisposableStack): Promise<Parts> => new Opening(options, resources).open()

/** What clients of an instance with standbys are told until it knows its shard. */
const STARTING = { code: 421, enhanced: '4.3.2', text: 'this instance is starting; try again' } as const

/** The parts ask for each other, so some are asked for before they are there. */
class Opening {
  readonly #options: PartsOptions
  readonly #resources: AsyncDisposableStack
  #shard: Shard | undefined
  #addresses: ManagedAddresses | undefined
  /** When all of them are open. */
  #parts: Parts | undefined

  constructor(options: PartsOptions, resources: AsyncDisposableStack) {
    this.#options = options
    this.#resources = resources
  }

  async open(): Promise<Parts> {
    const { log, onChange } = this.#options
    const { spec } = this.#settings().instance
    const store = this.#resources.use(await this.#openStore())
    const credentials = this.#resources.use(await openCredentials({ directories: spec.directories, onChange: this.#options.onCredentials }))
    const metrics = this.#openMetrics(store)
    const damagedMail = new DamagedMail({ log, counter: metrics.damaged, onDamage: onChange })
    const roomWatch = new RoomWatch(spec.replication ? this.#intakeOf(store) : store, Date.now)
    const submission = this.#resources.use(await this.#openSubmission(roomWatch, credentials, metrics))
    // Before delivery, so that they are removed after it has ended.
    const addresses = await this.#openAddresses()
    if (addresses !== undefined) this.#addresses = this.#resources.use(addresses)
    const openDelivery = (queue: QueueStore, permission?: Permission): Scheduler =>
      this.#openDelivery({ store: queue, notes: store, metrics: metrics.delivery, ...(permission && { permission }) }, damagedMail)
    const scheduler = this.#resources.use(spec.replication ? this.#openRoleDelivery(openDelivery) : openDelivery(store))
    if (scheduler instanceof RoleDelivery) {
      await this.#openShard({ store, submission, addresses, delivery: scheduler })
      registerReplication(metrics.registry, () => this.#member().status())
    } else addresses?.hold(() => ALONE)
    const admin = await this.#openAdmin({ store, submission, scheduler, shard: this.#shard }, metrics)
    const ports = { ...submission.ports, admin }
    this.#parts = { store, roomWatch, credentials, submission, scheduler, damagedMail, addresses, shard: this.#shard, ports }
    return this.#parts
  }

  #settings(): Settings {
    return this.#options.settings()
  }

  #openStore(): Promise<LogQueueStore> {
    const { queueVolumeUid, onBroken } = this.#options
    const { metadata, spec } = this.#settings().instance
    const stream = metadata.namespace === undefined ? spec.streamRef.name : `${metadata.namespace}/${spec.streamRef.name}`
    return openLmdbQueueStore({
      directory: spec.directories.queue,
      shard: { stream, shard: spec.shard },
      ...(queueVolumeUid !== undefined && { volume: queueVolumeUid }),
      clock: Date.now,
      onBroken,
      ...(spec.replication && {
        replicated: true,
        neededFrom: () => this.#shard?.neededFrom() ?? Infinity,
        onSyncing: (underWay: boolean) => this.#shard?.noteSyncing(underWay),
      }),
    })
  }

  #openMetrics(store: LogQueueStore): AgentMetrics {
    return openMetrics({
      totals: () => store.totals(),
      handled: () => (this.#leads() ? store.handled() : undefined),
      inFlight: () => this.#parts?.scheduler.inFlight() ?? 0,
      clock: Date.now,
    })
  }

  /** Of an instance of a shard: what is committed is taken, and by the primary only. */
  #intakeOf(store: LogQueueStore): Pick<QueueStore, 'append' | 'room'> {
    return { append: (message) => this.#member().append(message), room: (size) => store.room(size) }
  }

  #openSubmission(store: RoomWatch, credentials: Credentials, metrics: AgentMetrics): Promise<Submission> {
    return openSubmission({
      settings: () => this.#settings().submission,
      store,
      ...(this.#settings().instance.spec.replication && { gate: () => this.#shard?.gate() ?? STARTING }),
      users: () => credentials.users(),
      certificate: () => credentials.certificate(),
      log: this.#options.log,
      metrics: metrics.submission,
      clock: Date.now,
      random: randomBytes,
    })
  }

  #openAddresses(): Promise<ManagedAddresses | undefined> {
    return openAddresses({
      settings: () => this.#settings().instance.spec,
      used: () => this.#parts?.scheduler.usedAddresses() ?? [],
      onChange: () => {
        this.#parts?.scheduler.reconfigure()
        this.#options.onChange()
      },
      log: this.#options.log,
    })
  }

  #openDelivery(own: Pick<SchedulerOptions, 'store' | 'notes' | 'metrics' | 'permission'>, damagedMail: DamagedMail): Scheduler {
    const { log, force, onChange, onBroken } = this.#options
    return openScheduler({
      ...own,
      settings: () => this.#settings().instance.spec,
      log,
      clock: Date.now,
      random: Math.random,
      // Not spread in: a name that nobody asks for would be no error then.
      attachmentOf: this.#addresses && ((address) => this.#addresses?.attachmentOf(address)),
      signal: force,
      onAddresses: onChange,
      onDamage: (queueId, damage) => damagedMail.note(queueId, damage),
      onBroken,
    })
  }

  #openRoleDelivery(open: (queue: QueueStore, permission: Permission) => Scheduler): RoleDelivery {
    return new RoleDelivery({
      open: (queue) => open(queue, this.#member().permission),
      assigned: () => this.#settings().instance.spec.addresses.map(({ address }) => address),
    })
  }

  /** Loaded only where there are standbys: all else runs without any of it. */
  async #openShard(parts: Pick<Parts, 'store' | 'addresses' | 'submission'> & { readonly delivery: RoleDelivery }): Promise<void> {
    const { host, log, api, onChange, onBroken } = this.#options
    const { instance, submission } = this.#settings()
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
      onChange,
      onBroken,
    })
    this.#resources.use(this.#shard)
  }

  /** The port that it listens on. */
  async #openAdmin(parts: MailParts, metrics: AgentMetrics): Promise<number> {
    const situation = () => ({ settings: this.#settings(), stopping: this.#options.stopping() })
    const admin = this.#resources.use(
      await openAdminServer(this.#settings().instance.spec.ports.admin, {
        live: () => ({ status: 'ok', reason: 'Alive', message: 'the queue is open' }),
        ready: () => healthOf(judgeReady(activityOf(situation(), parts))),
        queue: () => queueReport(parts),
        metrics: metrics.registry,
      }),
    )
    return admin.port
  }

  #member(): Shard {
    if (this.#shard === undefined) throw new Error('the shard must be open, was not')
    return this.#shard
  }

  /** Whether this instance takes mail in and delivers it: of a shard, the primary alone. */
  #leads(): boolean {
    if (this.#settings().instance.spec.replication === undefined) return true
    return this.#shard !== undefined && this.#shard.activity().gate !== 'Standby'
  }
}
