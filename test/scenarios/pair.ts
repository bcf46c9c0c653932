import { type LeaseParts, parseRecord, type ShardRecord } from '#agent/contract/record.ts'
import { parseQueueId } from '#agent/domain/queue-id.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { type Turn, turnsBySession, turnsOf } from '#test/internet/turns.ts'
import { Load, type LoadOptions, type LoadReport } from './load.ts'
import { must, mustEqual } from './scenario.ts'
import type { Stage } from './stage.ts'

/**
 * One shard with hot standbys on a stage: who its primary is, mail of all sizes for it, how long it is away as a new client sees it, and the
 * three promises that hold whatever happens to it: what was accepted arrives, duplicates stay within their bound, and never do two send at once.
 */
export type PairOptions = {
  readonly timing?: 'Default' | 'Fast'
  readonly durability?: 'Available' | 'Strict'
  /** 1 when absent; each instance has a node of its own. */
  readonly standbys?: 1 | 2
  /** Managed: addresses that no node has of itself, and that go with the role. */
  readonly attachment?: 'Managed'
  /** Of the queues; the local disks when absent. */
  readonly storageClassName?: string
  /** Of its agents; that of the chart when absent. */
  readonly image?: string
  /** The default of the CRD when absent. */
  readonly maxConnectionsPerDestination?: number
}

export type Member = {
  readonly name: string
  /** Number of its node. */
  readonly node: number
  /** What it sends from. */
  readonly addresses: readonly string[]
}

/** The primary of an epoch; `claimedAt`: when it wrote so into the record. */
export type Reign = Member & { readonly epoch: number; readonly claimedAt: number }

/** Milliseconds from a fault until the heir had claimed, a new client read its first 250 from it, and its first message arrived. */
export type Gap = { readonly saidMillis: number; readonly acceptedMillis: number; readonly deliveredMillis: number }

/** Deliveries under way, and marks of what was delivered that the standby did not have yet, at a failover. */
export const MOST_DUPLICATES = 40 + 500

const DOMAINS = ['plain.example', 'starttls.example']

/** Deploys the stream `name` on nodes 1 and 2 (3 with two standbys) and returns when all its copies are in sync. */
export async function openPair(stage: Stage, name: string, options: PairOptions = {}): Promise<Pair> {
  const {
    standbys = 1,
    timing = 'Default',
    durability = 'Available',
    attachment,
    storageClassName,
    image,
    maxConnectionsPerDestination,
  } = options
  const nodes = [1, 2, 3].slice(0, standbys + 1)
  await stage.deploy(name, {
    nodes,
    standbysPerPrimary: standbys,
    failover: { timing, durability },
    ...(attachment && { attachment }),
    ...(storageClassName && { queue: { storageClassName } }),
    ...(image && { agent: { image } }),
    ...(maxConnectionsPerDestination && { delivery: { maxConnectionsPerDestination } }),
  })
  const pair = new Pair(stage, name, standbys + 1)
  await pair.inSync(90_000)
  return pair
}

export class Pair {
  readonly name: string
  readonly #stage: Stage
  readonly #copies: number
  readonly #loads: Load[] = []

  constructor(stage: Stage, name: string, copies: number) {
    this.#stage = stage
    this.name = name
    this.#copies = copies
  }

  // Who it is

  async members(): Promise<readonly Member[]> {
    return (await this.#stage.instances(this.name)).map(memberOf)
  }

  /** The record, with the times of its last claim and of its last change in milliseconds since the epoch. */
  async record(): Promise<ShardRecord & { readonly claimedAt: number; readonly changedAt: number }> {
    type Times = { readonly spec: { readonly acquireTime: string; readonly renewTime: string } }
    const lease = await this.#stage.read<LeaseParts & Times>('lease', `${this.name}-0`)
    return { ...parseRecord(lease), claimedAt: Date.parse(lease.spec.acquireTime), changedAt: Date.parse(lease.spec.renewTime) }
  }

  async primary(): Promise<Reign> {
    const [{ holder, epoch, claimedAt }, members] = await Promise.all([this.record(), this.members()])
    const member = members.find((one) => one.name === holder.instance)
    if (member === undefined) throw new Error(`the record must name an instance as primary, named ${holder.instance}`)
    return { ...member, epoch, claimedAt }
  }

  /** The one standby, or the first of two by name. */
  async standby(): Promise<Member> {
    const [primary, members] = await Promise.all([this.primary(), this.members()])
    return members.filter((one) => one.name !== primary.name).toSorted((a, b) => (a.name < b.name ? -1 : 1))[0]!
  }

  /** The first reign of a later epoch. After a restart it may be the same instance. */
  async heirOf(reign: Reign, withinMillis = 60_000): Promise<Reign> {
    return await this.#stage.waitFor(`a reign of ${this.name} after epoch ${reign.epoch}`, withinMillis, async () => {
      const { epoch } = await this.record()
      return epoch > reign.epoch && (await this.primary())
    })
  }

  /** Returns when every copy is in the record's set and the stream says so. */
  async inSync(withinMillis = 120_000): Promise<void> {
    await this.#stage.waitFor(`all ${this.#copies} copies of ${this.name} to be in sync`, withinMillis, async () => {
      const [{ inSync }, condition] = await Promise.all([this.record(), this.#stage.condition('sendingstream', this.name, 'InSync')])
      return inSync.length === this.#copies && condition?.status === 'True'
    })
  }

  /** Returns when every copy is in the record's set, whatever the operator says of it or does not. */
  async inRecord(withinMillis = 120_000): Promise<void> {
    await this.#stage.waitFor(`all ${this.#copies} copies of ${this.name} to be in the record`, withinMillis, async () => {
      return (await this.record()).inSync.length === this.#copies
    })
  }

  /** Waits until one copy alone is in the set, and answers with when that was written, in milliseconds since the epoch. */
  async aloneSince(withinMillis = 30_000): Promise<number> {
    return await this.#stage.waitFor(`${this.name} to go on with one copy`, withinMillis, async () => {
      const { inSync, changedAt } = await this.record()
      return inSync.length === 1 && changedAt
    })
  }

  // Mail

  /** Small messages and some large ones, until told to stop. Connections that fall silent are given up after five seconds. */
  async load(options: Partial<Pick<LoadOptions, 'connections' | 'perSecond' | 'sizeBytes'>> = {}): Promise<Load> {
    return await this.#begin({
      connections: 6,
      perSecond: 60,
      perConnection: 50,
      sizeBytes: '2000:39,300000:1',
      timeoutMillis: 5000,
      ...options,
    })
  }

  /**
   * Sees the pair as a new client does: a connection for every message, given up after a second, several a second side by side. Connections
   * that were open to a node that is dead say nothing about the pair.
   */
  async probe(): Promise<Load> {
    return await this.#begin({ connections: 4, perSecond: 5, perConnection: 1, sizeBytes: 1500, timeoutMillis: 1000, backOffMillis: 100 })
  }

  /** So many small messages to one domain; returns when they are accepted. They are compared with the rest. */
  async send(count: number, domain: string): Promise<void> {
    const load = await this.#begin({ count, connections: 4, sizeBytes: 1500, domains: [domain] })
    const { accepted } = await load.finished(60_000)
    mustEqual(`accepted for ${domain}`, accepted.length, count)
  }

  async #begin(options: Partial<LoadOptions>): Promise<Load> {
    const load = await this.#stage.load(this.name, { count: 1_000_000, connections: 1, domains: DOMAINS, ...options })
    this.#loads.push(load)
    return load
  }

  /** Waits for the first message that the heir took from the probe, and for the first that was delivered since it leads, after a fault. */
  async gap(probe: Load, heir: Reign, faultAt: number, withinMillis = 60_000): Promise<Gap> {
    const acceptedAt = await this.#stage.waitFor(`a new client to be served by ${heir.name}`, withinMillis, async () => {
      const times = probe.soFar().filter(({ queueId }) => queueId !== null && parseQueueId(queueId).epoch >= heir.epoch)
      return times.length > 0 && Math.min(...times.map((one) => Date.parse(one.acceptedAt)))
    })
    const deliveredAt = await this.#stage.waitFor(`${heir.name} to deliver`, withinMillis, async () => {
      const all = await this.#stage.internet.arrivals()
      const times = all.filter((one) => heir.addresses.includes(one.sourceAddress)).map(({ at }) => Date.parse(at))
      // After its claim: a killed primary that goes on has the same addresses, and what it sent last may arrive after the fault.
      const since = times.filter((at) => at > Math.max(faultAt, heir.claimedAt))
      return since.length > 0 && Math.min(...since)
    })
    return { saidMillis: heir.claimedAt - faultAt, acceptedMillis: acceptedAt - faultAt, deliveredMillis: deliveredAt - faultAt }
  }

  /** The longest time, from then until now, in which no new client was served. */
  longestPause(probe: Load, since: number): number {
    return longestBetween(
      since,
      probe.soFar().map(({ acceptedAt }) => Date.parse(acceptedAt)),
    )
  }

  /** The longest time, from then until now, in which nothing arrived. */
  async longestDeliveryPause(since: number): Promise<number> {
    return longestBetween(
      since,
      (await this.#stage.internet.arrivals()).map(({ at }) => Date.parse(at)),
    )
  }

  // Promises

  /**
   * Ends all mail, waits until what was accepted has arrived, and compares. `failovers`: how often the bound of duplicates may have been used up;
   * `sentAgain`: what may have been sent twice beside that. A client that was told 5yz was promised nothing, but nobody should have been.
   */
  async mustHaveArrived(
    failovers: number,
    sentAgain = 0,
  ): Promise<{ readonly accepted: number; readonly arrived: number; readonly duplicated: number }> {
    const loads = this.#loads.splice(0)
    for (const load of loads) load.stop()
    const reports: LoadReport[] = []
    for (const load of loads) reports.push(await load.finished(120_000))
    const all = mergeReports(reports)
    const verdict = await this.#stage.allArrived(this.name, all)
    mustEqual('messages that were refused for good', all.refused, [])
    const most = failovers * MOST_DUPLICATES + sentAgain
    must(verdict.duplicated <= most, `at most ${most} may arrive twice after ${failovers} failovers, were ${verdict.duplicated}`)
    return { accepted: all.accepted.length, ...verdict }
  }

  /**
   * Never two senders: transactions are begun by these instances in this order, and nobody begins one after the next has begun. Bytes that a
   * deposed primary had handed to its kernel arrive within milliseconds where the network is whole, and begin nothing.
   */
  async mustHaveSentInTurn(...wanted: readonly Member[]): Promise<readonly Turn[]> {
    return mustBeInTurn(await this.turns(), wanted)
  }

  /** The same where all of them send from the same addresses, and only their connections tell them apart. */
  async mustHaveReignedInTurn(...reigns: readonly Reign[]): Promise<readonly Turn[]> {
    const accessions = reigns.map(({ name, claimedAt }) => ({ owner: name, at: claimedAt }))
    const addresses = reigns.flatMap((reign) => reign.addresses)
    return mustBeInTurn(turnsBySession(await this.#stage.internet.beginnings(), addresses, accessions), reigns)
  }

  /** Who began transactions since the small internet was reset. */
  async turns(): Promise<readonly Turn[]> {
    const [members, beginnings] = await Promise.all([this.members(), this.#stage.internet.beginnings()])
    return turnsOf(beginnings, new Map(members.flatMap(({ name, addresses }) => addresses.map((address) => [address, name]))))
  }
}

function mustBeInTurn(turns: readonly Turn[], wanted: readonly Member[]): readonly Turn[] {
  const was = turns.map(({ owner }) => owner)
  const want = wanted.map(({ name }) => name).filter((name, index, names) => name !== names[index - 1])
  must(
    was.join(' ') === want.join(' '),
    `transactions must be begun by ${want.join(', then ')} and by nobody out of turn, were by ${JSON.stringify(turns)}`,
  )
  return turns
}

function longestBetween(since: number, times: readonly number[]): number {
  const later = [since, ...times.filter((at) => at >= since).toSorted((a, b) => a - b), Date.now()]
  return Math.max(...later.slice(1).map((at, index) => at - later[index]!))
}

function memberOf({ metadata, spec }: MTAInstance): Member {
  if (spec.nodeName === undefined) throw new Error(`${metadata.name} must have a node, has none`)
  const node = Number(spec.nodeName.replace(/^node/, ''))
  return { name: metadata.name, node, addresses: spec.addresses.map(({ address }) => address) }
}

function mergeReports(reports: readonly LoadReport[]): Omit<LoadReport, 'progress'> {
  return {
    accepted: reports.flatMap(({ accepted }) => accepted),
    unfinished: reports.flatMap(({ unfinished }) => unfinished),
    refused: reports.flatMap(({ refused }) => refused),
  }
}
