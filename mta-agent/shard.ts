import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { ReplicationStatus } from '#crds/replication.ts'
import type { Permission } from './delivery/ports.ts'
import type { SmtpReply } from './domain/smtp-reply.ts'
import type { Activity } from './health.ts'
import type { LogQueueStore } from './queue/log-queue.ts'
import type { QueueStore } from './queue/queue-store.ts'
import type { ApiAccess, CoordinatorSettings, Endpoint, PeerAddress, ToCoordinator } from './replication/coordinator/messages.ts'
import { type CoordinatorThread, openCoordinator } from './replication/coordinator/open-coordinator.ts'
import { type Gate, type Member, type MemberLog, type MemberReport, openMember } from './replication/member/member.ts'
import type { Tenure } from './address-plan.ts'
import type { ManagedAddresses } from './managed-addresses.ts'
import { monotonicMillis } from './replication/monotonic-clock.ts'
import { openPeerTls } from './replication/peer-tls.ts'
import { type Timers, timersOf } from './replication/timers.ts'
import { buildReplicationStatus } from './replication-status.ts'
import type { RoleDelivery } from './role-delivery.ts'
import { NO_REQUESTS, planRequests, type Requests } from './shard-requests.ts'

/**
 * The instance as one of its shard (hot standby): the coordinator's thread, the member that does what it says, and the annotations that ask
 * for something. Loaded only where the document has `spec.replication`. What must never happen: mail taken in or delivered without the
 * coordinator's word.
 */

export type ShardOptions = {
  readonly instance: MTAInstance
  readonly store: LogQueueStore
  readonly delivery: RoleDelivery
  /** That move with the role; undefined where they stay on their node (IPPool attachment Existing). */
  readonly addresses: ManagedAddresses | undefined
  /** End all sessions of clients. */
  readonly interruptClients: () => void
  readonly api: ApiAccess
  readonly listenAddress: string
  readonly endpoint: Endpoint
  readonly log: MemberLog
  readonly onChange: () => void
  readonly onBroken: (error: unknown) => void
}

export type Shard = AsyncDisposable & {
  /** For submission: resolves when the message is committed. */
  append: QueueStore['append']
  /** For submission: what clients are told while no mail is taken in. */
  gate(): 'open' | SmtpReply
  activity(): NonNullable<Activity['member']>
  status(): ReplicationStatus
  /** A changed document, or only other annotations. */
  take(instance: MTAInstance): void
  readonly permission: Permission
  /**
   * This process will end: a primary hands over to its standby. Resolves when that leads and has this one's promise, when it cannot be done, or
   * when the signal aborts.
   */
  handOver(signal: AbortSignal): Promise<void>
  /** For the store: the lowest sequence that a follower still needs. */
  neededFrom(): number
  /** For the store: a write to the disk begins, or has returned. */
  noteSyncing(underWay: boolean): void
}

export async function openShard(options: ShardOptions): Promise<Shard> {
  await using opening = new AsyncDisposableStack()
  const shard = opening.use(new OpenShard(options))
  await shard.open()
  opening.move()
  return shard
}

/** By then the record has been read again, and a standby that was busy has answered. */
const ASKED_AGAIN_AFTER = 2_000

/** How often it is looked whether a switchover has come to its end. */
const HANDED_OVER_EVERY = 20

const NO_TENURE: Tenure = { from: Number.POSITIVE_INFINITY, acts: Number.NEGATIVE_INFINITY, right: Number.NEGATIVE_INFINITY }

const REPLIES: Readonly<Record<Exclude<Gate, 'open'>, SmtpReply>> = {
  Standby: { code: 421, enhanced: '4.3.2', text: 'this instance is a standby; try again' },
  HandingOver: { code: 421, enhanced: '4.3.2', text: 'this instance is handing over; try again' },
  NoStandbyInSync: { code: 452, enhanced: '4.3.0', text: 'no standby is in sync; try later' },
}

class OpenShard implements Shard {
  readonly #options: ShardOptions
  /** Of this process: a restarted one is another. */
  readonly #incarnation = randomBytes(16).toString('hex')
  readonly #resources = new AsyncDisposableStack()
  #member: Member | undefined
  #thread: CoordinatorThread | undefined
  #asked: Requests = NO_REQUESTS
  #refused: MemberReport['refusal']
  #askAgain: NodeJS.Timeout | undefined
  #instance: MTAInstance
  readonly permission: Permission = {
    mayStart: () => this.#thread?.cell.mayStart(monotonicMillis()) ?? false,
    mayAct: () => this.#thread?.cell.mayAct(monotonicMillis()) ?? false,
  }

  constructor(options: ShardOptions) {
    this.#options = options
    this.#instance = options.instance
  }

  async open(): Promise<void> {
    const { store, delivery, addresses, interruptClients, listenAddress, log, onChange, onBroken } = this.#options
    const { metadata, spec } = this.#instance
    const replication = requireReplication(spec)
    const scope = { stream: spec.streamRef.name, namespace: metadata.namespace ?? '' }
    const tls = this.#resources.use(openPeerTls({ directory: replication.directory, scope, wall: Date.now }))
    const member = await openMember({
      store,
      tls,
      listen: { address: listenAddress, port: replication.logPort },
      post: (message) => this.#post(message),
      deeds: {
        startDelivery: (queue) => {
          delivery.start(queue)
          addresses?.hold(() => this.#tenure())
        },
        stopDelivery: () => delivery.cut(),
        inFlight: () => delivery.inFlight(),
        interruptClients,
        removeAddresses: async () => await addresses?.letGo(),
      },
      log,
      onChange: () => {
        this.#ask()
        this.#noteRefusal()
        onChange()
      },
      onBroken,
      clock: monotonicMillis,
    })
    this.#member = this.#resources.use(member)
    this.#thread = this.#resources.use(
      openCoordinator({ settings: this.#settings(replication), onMessage: (message) => member.take(message), onBroken }),
    )
  }

  #tenure(): Tenure {
    const cell = this.#thread?.cell
    if (cell === undefined) return NO_TENURE
    // In this order: between two reigns `attachFrom` is never, so that a mix of both attaches nothing early.
    const [acts, right] = [cell.actsUntil(), cell.rightUntil()]
    return { from: cell.attachFrom(), acts, right }
  }

  #settings(replication: FixedReplication): Omit<CoordinatorSettings, 'cell'> {
    const { store, api, endpoint, listenAddress } = this.#options
    const { metadata, spec } = this.#instance
    const { copyId, seen } = store.identity()
    return {
      namespace: metadata.namespace ?? '',
      stream: spec.streamRef.name,
      self: { instance: metadata.name, incarnation: this.#incarnation, copy: copyId },
      timing: replication.timing,
      durability: replication.durability,
      disk: { seen, complete: store.isComplete(), quickClaimAt: store.quickClaimAt() },
      recordName: replication.recordName,
      endpointSliceName: replication.endpointSliceName,
      endpoint,
      peers: replication.peers,
      listen: { address: listenAddress, port: replication.beaconPort },
      certificateDirectory: replication.directory,
      api,
    }
  }

  append: QueueStore['append'] = async (message) => await this.#opened().append(message)

  gate(): 'open' | SmtpReply {
    const gate = this.#opened().gate()
    return gate === 'open' ? gate : REPLIES[gate]
  }

  activity(): NonNullable<Activity['member']> {
    const member = this.#opened()
    return { gate: member.gate(), isFollowing: member.report().facts?.following !== undefined }
  }

  status(): ReplicationStatus {
    const { copyId, seen } = this.#options.store.identity()
    const { switchover, promotion } = this.#asked
    const report = this.#opened().report()
    const setAside = this.#options.store.aside().length
    return buildReplicationStatus({ copyId, incarnation: this.#incarnation, seen, setAside, report, asked: { switchover, promotion } })
  }

  neededFrom(): number {
    return this.#member?.neededFrom() ?? Infinity
  }

  noteSyncing(underWay: boolean): void {
    this.#thread?.cell.syncing(underWay ? monotonicMillis() : undefined)
  }

  take(instance: MTAInstance): void {
    const before = JSON.stringify(peersOf(this.#instance.spec))
    this.#instance = instance
    const peers = peersOf(instance.spec)
    if (JSON.stringify(peers) !== before) this.#post({ kind: 'peers', peers })
    this.#ask()
  }

  async handOver(signal: AbortSignal): Promise<void> {
    const { facts, refusal } = this.#opened().report()
    // One that has handed over already may be told to end before it follows its heir.
    const hasLed = facts?.role === 'Standby' && facts.lastChange !== undefined
    if (facts?.role === 'Primary' && facts.followers.some(({ needed }) => needed)) {
      this.#options.log.info({ epoch: facts.epoch }, 'handing over')
      this.#post({ kind: 'switchover', epoch: facts.epoch })
    } else if (!hasLed) return
    const { promise, call } = this.#timers()
    // One who has handed over already waits no longer than until its heir would be given up.
    const ended = hasLed ? AbortSignal.any([signal, AbortSignal.timeout(promise + call)]) : signal
    await this.#untilFollowing({ epoch: facts.epoch, refusal }, ended)
  }

  /** The next primary acts when this copy, which is still in the set, has promised: to go before would make it wait until it may remove it. */
  async #untilFollowing(before: { readonly epoch: number; readonly refusal: MemberReport['refusal'] }, ended: AbortSignal): Promise<void> {
    const state = (): 'waits' | 'follows' | 'refused' | 'leads again' => {
      const { facts, refusal } = this.#opened().report()
      if (facts?.following !== undefined) return 'follows'
      // Its heir may end before it acts, and then nobody is left to follow.
      if (facts?.role === 'Primary' && facts.epoch > before.epoch) return 'leads again'
      return refusal === before.refusal ? 'waits' : 'refused'
    }
    while (state() === 'waits' && !ended.aborted) await wait(HANDED_OVER_EVERY)
    if (state() === 'follows') await wait(2 * this.#timers().beacon)
  }

  #timers(): Timers {
    return timersOf(requireReplication(this.#instance.spec).timing)
  }

  #noteRefusal(): void {
    const refusal = this.#member?.report().refusal
    if (refusal === this.#refused) return
    this.#refused = refusal
    if (refusal?.request !== 'Switchover') return
    clearTimeout(this.#askAgain)
    this.#askAgain = setTimeout(() => this.#ask(true), ASKED_AGAIN_AFTER)
  }

  /** A switchover waits until the epoch that it names is led here. */
  #ask(wasRefused = false): void {
    const facts = this.#member?.report().facts
    const leads = facts?.role === 'Primary' ? facts.epoch : undefined
    const { asked, switchover, force } = planRequests(this.#asked, this.#instance.metadata.annotations, leads, wasRefused)
    this.#asked = asked
    if (switchover !== undefined) this.#post({ kind: 'switchover', epoch: switchover })
    if (force !== undefined) this.#post({ kind: 'force', ...force })
  }

  #post(message: ToCoordinator): void {
    this.#thread?.post(message)
  }

  #opened(): Member {
    if (this.#member === undefined) throw new Error('the shard must be open, was not')
    return this.#member
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync()
    clearTimeout(this.#askAgain)
  }
}

type FixedReplication = NonNullable<MTAInstanceSpec['replication']> & {
  readonly directory: string
  readonly logPort: number
  readonly beaconPort: number
}

/** The document's rules say that they come together. */
function requireReplication({ replication, ports, directories }: MTAInstanceSpec): FixedReplication {
  const directory = directories.replication
  if (replication === undefined || directory === undefined || ports.log === undefined || ports.beacon === undefined)
    throw new Error('spec.replication must come with ports.log, ports.beacon and directories.replication, did not')
  return { ...replication, directory, logPort: ports.log, beaconPort: ports.beacon }
}

const peersOf = (spec: MTAInstanceSpec): readonly PeerAddress[] => spec.replication?.peers ?? []
