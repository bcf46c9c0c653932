import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { formatRecord, keyOf, parseRecord, type ShardRecord } from '#agent/contract/record.ts'
import type { FromCoordinator, PeerAddress, ReplicationFacts, ToCoordinator } from '#agent/replication/coordinator/messages.ts'
import { monotonicMillis } from '#agent/replication/monotonic-clock.ts'
import { formatPeerName } from '#agent/replication/peer-name.ts'
import type { Client } from '#kube/client.ts'
import { ENDPOINT_SLICES, type EndpointSlice, LEASES } from '#kube/resources.ts'
import { openTcpProxy, type TcpProxy } from '#test/cluster/tcp-proxy.ts'
import type { PeerCertificates } from '#test/support/peer-certificates.ts'
import { waitFor } from '#test/support/wait.ts'
import type { Order, Report } from './coordinator-process.ts'

/** A shard of coordinators, each a process, around a record in a real API server. Their links go through proxies that can be cut. */

const NAMESPACE = 'default'
const STREAM = 'news'
const call = { signal: new AbortController().signal }

export type Member = {
  readonly instance: string
  /** What the coordinator said, oldest first, and when. */
  readonly said: readonly { readonly at: number; readonly message: FromCoordinator }[]
  /** When it might act; the last may still go on. Of one that was killed until then. */
  readonly acted: readonly { readonly from: number; readonly to: number }[]
  readonly acts: boolean
  readonly status: ReplicationFacts | undefined
  readonly link: TcpProxy
  post(message: ToCoordinator): void
  append(): void
  confirms(confirms: boolean): void
  pause(): void
  resume(): void
  kill(): Promise<void>
  /** A new process on the same volume. */
  restart(): Promise<void>
}

export type Shard = AsyncDisposable & {
  readonly members: readonly [Member, Member, ...Member[]]
  record(): Promise<ShardRecord>
  slice(): Promise<EndpointSlice>
  /** Moments at which more than one might act. */
  overlaps(): readonly string[]
}

export type ShardOptions = {
  readonly name: string
  readonly instances?: readonly string[]
  readonly client: Client
  readonly kubeconfig: string
  readonly certificates: PeerCertificates
}

export async function openShard(options: ShardOptions): Promise<Shard> {
  const { name, client } = options
  const instances = (options.instances ?? ['a', 'b']).map((letter) => `${name}-${letter}`)
  const [first = ''] = instances
  const key = { namespace: NAMESPACE, name }
  const content = { holder: { instance: first, incarnation: 'i1' }, epoch: 1, inSync: [copyOf(first)], forcedEpoch: 0 }
  const { annotations, spec } = formatRecord(content)
  await client.create(LEASES, { metadata: { ...key, annotations, finalizers: ['mtafleet.io/record'] }, spec }, call)
  await client.create(ENDPOINT_SLICES, { metadata: key, addressType: 'IPv4', endpoints: [], ports: [] }, call)
  const members = await Promise.all(instances.map((instance) => openMember(options, instance)))
  const peers = members.map(({ peer }) => peer)
  for (const { own, meet } of members) meet(peers.filter((peer) => peer.instance !== own.instance))
  return {
    members: members.map(({ own }) => own) as unknown as Shard['members'],
    record: async () => parseRecord(await client.get(LEASES, key, call)),
    slice: () => client.get(ENDPOINT_SLICES, key, call),
    overlaps: () => overlapsOf(members.map(({ own }) => own)),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(members.map(({ own }) => own.kill()))
      await Promise.all(members.map(({ own }) => own.link[Symbol.asyncDispose]()))
    },
  }
}

const copyOf = (instance: string) => ({ instance, copy: `${instance}-copy` })

type OpenMember = {
  readonly own: Member
  readonly peer: PeerAddress
  readonly meet: (peers: readonly PeerAddress[]) => void
}

async function openMember(options: ShardOptions, instance: string): Promise<OpenMember> {
  const directory = await options.certificates.directoryFor(formatPeerName({ stream: STREAM, namespace: NAMESPACE }, instance))
  const member = new MemberProcess(options, instance, directory)
  const port = await member.start()
  const link = await openTcpProxy({ host: '127.0.0.1', port: () => member.port })
  member.link = link
  const peer = { instance, address: '127.0.0.1', logPort: port, beaconPort: link.port }
  return { own: member, peer, meet: (peers) => member.meet(peers) }
}

class MemberProcess implements Member {
  readonly instance: string
  said: { readonly at: number; readonly message: FromCoordinator }[] = []
  acted: { from: number; to: number }[] = []
  link!: TcpProxy
  port = 0
  readonly #options: ShardOptions
  readonly #directory: string
  #child!: ChildProcess
  #incarnations = 0
  #peers: readonly PeerAddress[] = []
  /** What the volume would know. */
  #disk = { seen: 1, complete: true, quickClaimAt: 0 }

  constructor(options: ShardOptions, instance: string, directory: string) {
    this.#options = options
    this.instance = instance
    this.#directory = directory
  }

  get acts(): boolean {
    return this.acted.at(-1)?.to === Number.POSITIVE_INFINITY
  }

  get status(): ReplicationFacts | undefined {
    return this.said.map(({ message }) => message).findLast((message) => message.kind === 'status')?.status
  }

  async start(): Promise<number> {
    const { name, kubeconfig } = this.#options
    this.#child = fork(new URL('./coordinator-process.ts', import.meta.url), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (report: Report) => this.#take(report))
    const from = this.said.length
    this.#order({
      kind: 'start',
      settings: {
        namespace: NAMESPACE,
        stream: STREAM,
        self: { ...copyOf(this.instance), incarnation: `i${++this.#incarnations}` },
        timing: 'Fast',
        durability: 'Available',
        disk: this.#disk,
        recordName: name,
        endpointSliceName: name,
        endpoint: { address: '192.0.2.1', nodeName: `node-of-${this.instance}`, ports: [{ name: 'submission', port: 587 }] },
        peers: this.#peers,
        listen: { address: '127.0.0.1', port: 0 },
        certificateDirectory: this.#directory,
        api: { kind: 'kubeconfig', path: kubeconfig },
      },
    })
    this.port = await waitFor(`${this.instance} to listen`, () => {
      const listening = this.said.slice(from).find(({ message }) => message.kind === 'listening')?.message
      return listening?.kind === 'listening' && listening.port
    })
    return this.port
  }

  meet(peers: readonly PeerAddress[]): void {
    this.#peers = peers
    this.post({ kind: 'peers', peers })
  }

  post(message: ToCoordinator): void {
    this.#order({ kind: 'post', message })
  }

  append(): void {
    this.#order({ kind: 'append' })
  }

  confirms(confirms: boolean): void {
    this.#order({ kind: 'confirms', confirms })
  }

  pause(): void {
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
    this.#endActing(monotonicMillis())
  }

  async restart(): Promise<void> {
    await this.start()
  }

  #order(order: Order): void {
    if (this.#child.connected) this.#child.send(order)
  }

  #take(report: Report): void {
    if (report.kind === 'acts') {
      if (report.acts) this.acted.push({ from: report.at, to: Number.POSITIVE_INFINITY })
      else this.#endActing(report.at)
      return
    }
    const { at, message } = report
    this.said.push({ at, message })
    if (message.kind === 'storeSeen' || message.kind === 'follow') this.#disk = { ...this.#disk, seen: message.epoch }
    if (message.kind === 'noteQuickClaim') this.#disk = { ...this.#disk, quickClaimAt: message.wall }
  }

  #endActing(at: number): void {
    const current = this.acted.at(-1)
    if (current?.to === Number.POSITIVE_INFINITY) current.to = at
  }
}

function overlapsOf(members: readonly Member[]): readonly string[] {
  const all = members.flatMap(({ instance, acted }) => acted.map((period) => ({ instance, ...period })))
  return all.flatMap((one) =>
    all
      .filter((other) => other.instance > one.instance && other.from < one.to && one.from < other.to)
      .map((other) => `${one.instance} from ${one.from} to ${one.to} and ${other.instance} from ${other.from} to ${other.to}`),
  )
}

/** Names of the copies in the set. */
export const inSync = (record: ShardRecord): readonly string[] => record.inSync.map(keyOf)
