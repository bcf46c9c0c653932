import { freePort } from '#test/support/free-port.ts'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parse } from 'yaml'
import { ADMIN_PATHS } from '#agent/contract/admin-api.ts'
import { formatRecord } from '#agent/contract/record.ts'
import { formatPeerName } from '#agent/replication/peer-name.ts'
import { API_VERSION, GROUP, RESOURCES, VERSION } from '#crds/group.ts'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { ReplicationStatus } from '#crds/replication.ts'
import { type Client, openClient } from '#kube/client.ts'
import { openKubeconfig } from '#kube/config.ts'
import { type AnyObject, CUSTOM_RESOURCE_DEFINITIONS, ENDPOINT_SLICES, LEASES, NAMESPACES, resource } from '#kube/resources.ts'
import { openPeerCertificates } from '#test/support/peer-certificates.ts'
import { waitFor } from '#test/support/wait.ts'
import { type ApiServer, openApiServer } from './api-server.ts'

/**
 * A shard of real agents, each a process of its own, with a real API server; on loopback, each with a source address of its own, or where `places`
 * says.
 */

export const MTA_INSTANCES = resource<MTAInstance>({
  group: GROUP,
  version: VERSION,
  kind: 'MTAInstance',
  plural: RESOURCES.MTAInstance,
  namespaced: true,
})

const NAMESPACE = 'mail'
const STREAM = 'news'
const RECORD = 'news-0'
const call = { signal: new AbortController().signal }

export type LogLine = { readonly msg: string; readonly to?: string }

export type ShardAgent = {
  readonly name: string
  /** The address that its deliveries come from. */
  readonly sourceAddress: string
  readonly port: number
  readonly lines: readonly LogLine[]
  /** `volume`: the UID of the volume that it is told its queue to be on. */
  start(volume?: string): void
  kill(signal: NodeJS.Signals): void
  /** Of its metric of that name: the value of each label. */
  counted(metric: string): Promise<Readonly<Record<string, number>>>
  /** What it says of itself at the API server. */
  status(): Promise<ReplicationStatus | undefined>
  /** Status and reason of one of its conditions. */
  condition(type: string): Promise<string | undefined>
  ask(annotations: Readonly<Record<string, string>>): Promise<void>
}

export type ShardOfAgents = AsyncDisposable & {
  readonly server: ApiServer
  readonly agents: readonly [ShardAgent, ShardAgent]
  /** Makes the record with the first agent's copy, as the operator does. */
  createRecord(first: ShardAgent): Promise<void>
  /** Of the record as it is now: what a promotion by force must name. */
  recordVersion(): Promise<string>
  /** The address that clients are sent to. */
  endpoint(): Promise<string | undefined>
}

/** Where an agent runs, and what it sends from. */
export type Place = {
  /** Where the others and clients reach it. */
  readonly address: string
  readonly source: Pick<MTAInstanceSpec, 'addresses' | 'addressAttachment'>
  /** Where the socket of its address holder is. */
  readonly addressHolder?: string
  readonly spawn: (argv: readonly string[]) => ChildProcess
  /** How it reaches the API server of this kubeconfig; resolves with the path of another. */
  readonly reach: (kubeconfig: string) => Promise<string>
}

export type ShardOptions = {
  readonly nextHop: { readonly address: string; readonly port: number }
  /** By default after a second, so that nothing waits. */
  readonly retrySeconds?: readonly number[]
  /** On loopback when absent. */
  readonly places?: readonly [Place, Place]
  /** How their processes are started, where not by the place; without standard output, `lines` stays empty. */
  readonly spawn?: Place['spawn']
} & Pick<NonNullable<MTAInstanceSpec['replication']>, 'timing' | 'durability'>

export async function openShardOfAgents(options: ShardOptions): Promise<ShardOfAgents> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openApiServer())
  const client = stack.use(openClient(await openKubeconfig(server.kubeconfig)))
  const certificates = stack.use(await openPeerCertificates())
  const folder = mkdtempSync(join(tmpdir(), 'mtafleet-shard-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  await client.create(NAMESPACES, { metadata: { name: NAMESPACE } }, call)
  const definition = parse(readFileSync(new URL('../../crds/mtainstances.yaml', import.meta.url), 'utf8')) as AnyObject
  await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition, call)
  await waitFor('the definition', () => client.list(MTA_INSTANCES, { namespace: NAMESPACE }, call))
  const slice = {
    metadata: { namespace: NAMESPACE, name: RECORD, labels: { 'kubernetes.io/service-name': STREAM } },
    addressType: 'IPv4',
    endpoints: [],
    ports: [],
  } as const
  await client.create(ENDPOINT_SLICES, slice, call)
  const seats = await Promise.all(
    ['a', 'b'].map((letter, index) => planSeat({ letter, index, folder, place: options.places?.[index], spawn: options.spawn })),
  )
  for (const seat of seats) {
    const directory = await certificates.directoryFor(formatPeerName({ stream: STREAM, namespace: NAMESPACE }, seat.name))
    const peers = seats.filter(({ name }) => name !== seat.name)
    const spec = buildSpec({ seat, peers, directory, options })
    const metadata = { namespace: NAMESPACE, name: seat.name }
    await client.create(MTA_INSTANCES, { apiVersion: API_VERSION, kind: 'MTAInstance', metadata, spec }, call)
  }
  const agents: AgentProcess[] = []
  for (const seat of seats) {
    const kubeconfig = seat.place === undefined ? server.kubeconfig : await seat.place.reach(server.kubeconfig)
    agents.push(stack.use(new AgentProcess(seat, kubeconfig, client)))
  }
  const [a, b] = agents
  const resources = stack.move()
  return {
    server,
    agents: [a!, b!],
    createRecord: async (first) => {
      const status = await waitFor('its copy', () => first.status())
      const { copyId: copy, incarnation } = status
      const content = { holder: { instance: first.name, incarnation }, epoch: 1, inSync: [{ instance: first.name, copy }], forcedEpoch: 0 }
      const { annotations, spec } = formatRecord(content)
      await client.create(LEASES, { metadata: { namespace: NAMESPACE, name: RECORD, annotations: { ...annotations } }, spec }, call)
    },
    recordVersion: async () => {
      const lease = await client.get(LEASES, { namespace: NAMESPACE, name: RECORD }, call)
      return lease.metadata.resourceVersion ?? ''
    },
    endpoint: async () => {
      const found = await client.get(ENDPOINT_SLICES, { namespace: NAMESPACE, name: RECORD }, call)
      return found.endpoints?.[0]?.addresses[0]
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

type Seat = {
  readonly name: string
  readonly podAddress: string
  readonly sourceAddress: string
  readonly queue: string
  readonly place: Place | undefined
  readonly spawn: Place['spawn'] | undefined
  readonly ports: {
    readonly submission: number
    readonly submissions: number
    readonly admin: number
    readonly log: number
    readonly beacon: number
  }
}

async function planSeat({
  letter,
  index,
  folder,
  place,
  spawn: start,
}: Pick<Seat, 'place' | 'spawn'> & { letter: string; index: number; folder: string }): Promise<Seat> {
  const queue = join(folder, letter)
  mkdirSync(queue)
  return {
    name: `${STREAM}-0-${letter}`,
    // Loopback may not stand in an EndpointSlice; nobody listens there.
    podAddress: place?.address ?? `192.0.2.${index + 1}`,
    sourceAddress: place?.source.addresses[0]?.address ?? `127.0.0.${index + 5}`,
    queue,
    place,
    spawn: place?.spawn ?? start,
    ports: {
      submission: await freePort(),
      submissions: await freePort(),
      admin: await freePort(),
      log: await freePort(),
      beacon: await freePort(),
    },
  }
}

type Spec = { readonly seat: Seat; readonly peers: readonly Seat[]; readonly directory: string; readonly options: ShardOptions }

function buildSpec({ seat, peers, directory, options }: Spec): MTAInstanceSpec {
  const example = parse(readFileSync(new URL('../../examples/agent-alone.yaml', import.meta.url), 'utf8')) as { spec: MTAInstanceSpec }
  const { nextHop, timing, durability, retrySeconds = [1] } = options
  return {
    ...example.spec,
    streamRef: { name: STREAM },
    ...(seat.place?.source ?? { addresses: [{ address: seat.sourceAddress, hostName: 'mta.example.com' }] }),
    ...(seat.place && { listenAddress: seat.place.address, submission: { ...example.spec.submission, allowedNetworks: ['198.0.0.0/8'] } }),
    ports: { ...seat.ports },
    queue: { ...example.spec.queue, retrySeconds: [...retrySeconds] },
    directories: {
      queue: seat.queue,
      replication: directory,
      ...(seat.place?.addressHolder === undefined ? {} : { addressHolder: seat.place.addressHolder }),
    },
    routes: [{ domain: '*', nextHop: { host: nextHop.address, port: nextHop.port } }],
    replication: {
      recordName: RECORD,
      endpointSliceName: RECORD,
      timing,
      durability,
      peers: peers.map(({ name, ports, place }) => ({
        instance: name,
        address: place?.address ?? '127.0.0.1',
        logPort: ports.log,
        beaconPort: ports.beacon,
      })),
    },
  }
}

class AgentProcess implements ShardAgent, AsyncDisposable {
  readonly name: string
  readonly sourceAddress: string
  readonly port: number
  readonly lines: LogLine[] = []
  readonly #seat: Seat
  readonly #kubeconfig: string
  readonly #client: Client
  #child: ChildProcess | undefined

  constructor(seat: Seat, kubeconfig: string, client: Client) {
    this.#seat = seat
    this.#kubeconfig = kubeconfig
    this.#client = client
    this.name = seat.name
    this.sourceAddress = seat.sourceAddress
    this.port = seat.ports.submission
  }

  start(volume = `volume of ${this.name}`): void {
    const program = new URL('./shard-agent.ts', import.meta.url).pathname
    const args = [program, this.#kubeconfig, NAMESPACE, this.name, this.#seat.podAddress, this.#seat.queue, volume]
    const child = this.#seat.spawn?.([process.execPath, ...args]) ?? spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(JSON.parse(line) as LogLine))
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async counted(metric: string): Promise<Readonly<Record<string, number>>> {
    const text = await (await fetch(`http://127.0.0.1:${this.#seat.ports.admin}${ADMIN_PATHS.metrics}`)).text()
    const found = text.matchAll(new RegExp(String.raw`^${metric}\{[^=]+="([^"]+)"\} (.+)$`, 'gm'))
    return Object.fromEntries([...found].map(([, label, value]) => [label, Number(value)]))
  }

  async status(): Promise<ReplicationStatus | undefined> {
    const instance = await this.#client.get(MTA_INSTANCES, { namespace: NAMESPACE, name: this.name }, call)
    return instance.status?.agent?.replication
  }

  async condition(type: string): Promise<string | undefined> {
    const instance = await this.#client.get(MTA_INSTANCES, { namespace: NAMESPACE, name: this.name }, call)
    const found = instance.status?.conditions?.find((one) => one.type === type)
    return found && `${found.status} ${found.reason}`
  }

  async ask(annotations: Readonly<Record<string, string>>): Promise<void> {
    await this.#client.patch(MTA_INSTANCES, { namespace: NAMESPACE, name: this.name }, { metadata: { annotations } }, call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
  }
}
