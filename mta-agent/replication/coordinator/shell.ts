import type { TLSSocket } from 'node:tls'
import { type Client, openClient } from '#kube/client.ts'
import { type ApiServer, openInCluster, openKubeconfig } from '#kube/config.ts'
import { openPeerTls, type PeerTls } from '../peer-tls.ts'
import { type Millis, timersOf } from '../timers.ts'
import { runAnnouncer } from './announcer.ts'
import { Coordinator } from './coordinator.ts'
import { runSearch } from './find-primary.ts'
import type { ApiAccess, CoordinatorSettings, FromCoordinator, ToCoordinator } from './messages.ts'
import { openRecordClient } from './record-client.ts'
import { Seldom } from './seldom.ts'
import { serveFollower } from './serve-followers.ts'
import { cellOfCoordinator } from './shared-cell.ts'

/** What the coordinator stands in: the API server, the links, the time. Everything here asks or carries; what is decided is in coordinator.ts. */

export type ShellPorts = {
  readonly settings: CoordinatorSettings
  readonly tell: (message: FromCoordinator) => void
  /** A defect; the thread must end. */
  readonly onBroken: (error: unknown) => void
  readonly clock: () => Millis
  readonly wall: () => Millis
  readonly token: () => string
}

/** Ticks in an interval of beacons: a beacon is late by a fifth of it at most. */
const TICKS_PER_BEACON = 5

export async function openShell(ports: ShellPorts): Promise<Shell> {
  const { settings, wall } = ports
  await using opened = new AsyncDisposableStack()
  const client = opened.use(openClient(await openApi(settings.api)))
  const tls = opened.use(openPeerTls({ directory: settings.certificateDirectory, scope: settings, wall }))
  const shell = new Shell(ports, client, tls)
  opened.use(await shell.listen())
  shell.start(opened.move())
  return shell
}

const openApi = (access: ApiAccess): Promise<ApiServer> =>
  access.kind === 'pod' ? openInCluster(access.environment) : openKubeconfig(access.path)

export class Shell {
  readonly #ports: ShellPorts
  readonly #client: Client
  readonly #tls: PeerTls
  readonly #coordinator: Coordinator
  readonly #seldom: Seldom
  readonly #ended = new AbortController()
  readonly #tasks = new Set<Promise<void>>()
  readonly #stack = new AsyncDisposableStack()
  #current: Pick<CoordinatorSettings, 'peers' | 'endpoint'>

  constructor(ports: ShellPorts, client: Client, tls: PeerTls) {
    const { settings, clock, wall, token, onBroken, tell } = ports
    this.#ports = ports
    this.#client = client
    this.#tls = tls
    this.#current = settings
    this.#seldom = new Seldom(clock, tell)
    const key = { namespace: settings.namespace, name: settings.recordName }
    this.#coordinator = new Coordinator({
      settings,
      cell: cellOfCoordinator(settings.cell),
      record: openRecordClient({ client, key, deadlineMillis: timersOf(settings.timing).call, wall }),
      // What goes wrong does so again and again; what becomes of it is said each time.
      tell: (message) => (message.kind === 'told' && message.level !== 'info' ? this.#seldom.tell(message) : tell(message)),
      clock,
      wall,
      token,
      announce: (epoch, until) => this.#run(this.#announce(epoch, AbortSignal.any([until, this.#ended.signal]))),
      onBroken,
    })
  }

  async listen(): Promise<AsyncDisposable> {
    const { settings, tell } = this.#ports
    const listener = await this.#tls.listen({
      ...settings.listen,
      onPeer: (socket, instance) => this.#run(this.#serve(socket, instance)),
      onFault: ({ message: because }) => this.#seldom.say('warn', 'peer turned away', { because }),
    })
    tell({ kind: 'listening', port: listener.port })
    return listener
  }

  start(resources: AsyncDisposableStack): void {
    this.#stack.use(resources)
    const timer = setInterval(() => this.#coordinator.tick(), timersOf(this.#ports.settings.timing).beacon / TICKS_PER_BEACON)
    this.#stack.defer(() => clearInterval(timer))
    this.#run(this.#search())
  }

  take(message: ToCoordinator): void {
    if (message.kind === 'peers') this.#current = { ...this.#current, peers: message.peers }
    else if (message.kind === 'endpoint') this.#current = { ...this.#current, endpoint: message.endpoint }
    else this.#coordinator.take(message)
  }

  /** Ends all sessions; resolves when nothing is open any more. */
  async stop(): Promise<void> {
    this.#ended.abort()
    this.#coordinator.stop()
    await this.#stack[Symbol.asyncDispose]()
    await Promise.all(this.#tasks)
  }

  #search(): Promise<void> {
    const { recordName: shard, self, timing } = this.#ports.settings
    const ports = {
      tls: this.#tls,
      timers: timersOf(timing),
      self: { shard, copy: self.copy, incarnation: self.incarnation },
      peers: () => this.#current.peers,
      seen: () => this.#coordinator.state.disk.seen,
      isWanted: () => this.#coordinator.isLooking(),
      onFound: this.#coordinator.onFound,
      onFault: ({ instance }: { readonly instance: string }, because: string) =>
        this.#seldom.say('info', 'peer does not lead', { instance, because }),
    }
    return runSearch(ports, this.#ended.signal)
  }

  #serve(socket: TLSSocket, peer: string): Promise<void> {
    const { recordName: shard, self, timing } = this.#ports.settings
    const { onFollow, onPromise, onLeaving, onFollowerEnd: onEnd } = this.#coordinator
    const onFault = (instance: string, because: string) => this.#seldom.say('warn', 'link with a follower failed', { instance, because })
    const ports = { timers: timersOf(timing), shard, incarnation: self.incarnation, onFollow, onPromise, onLeaving, onEnd, onFault }
    return serveFollower(ports, socket, peer)
  }

  #announce(epoch: number, signal: AbortSignal): Promise<void> {
    const { namespace, endpointSliceName: name, timing } = this.#ports.settings
    const ports = {
      client: this.#client,
      key: { namespace, name },
      deadlineMillis: timersOf(timing).call,
      endpoint: () => this.#current.endpoint,
      mayAct: () => this.#coordinator.mayAct(),
      onSuperseded: (higher: number) => this.#coordinator.onHigherEpoch(higher),
      onAnnounced: () => this.#seldom.say('info', 'announced as primary', { epoch, ...this.#current.endpoint }),
      onFault: (because: string) => this.#seldom.say('warn', 'primary could not be announced', { because }),
    }
    return runAnnouncer(ports, epoch, signal)
  }

  #run(task: Promise<void>): void {
    const done: Promise<void> = task.catch(this.#ports.onBroken).finally(() => this.#tasks.delete(done))
    this.#tasks.add(done)
  }
}
