import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Arrival, Beginning } from './arrival.ts'
import { type Behaviour, type BehaviourInput, parseBehaviour } from './behaviour.ts'
import {
  aYearFrom,
  type Authority,
  createAuthority,
  expiredBefore,
  issueCertificate,
  type KeyPair,
  selfSignCertificate,
} from './certificates.ts'
import { Conversation } from './conversation.ts'
import type { Rules } from './dialogue.ts'
import { Judge } from './judge.ts'
import { holdPort } from './port-hold.ts'

/**
 * A receiving mail provider on real sockets, whose behaviour is data. Everything that it says 250 to is in `arrivals` by the time the client can
 * read that 250. Needs no root on loopback: `await using provider = await openProvider({ name: 'plain' })`.
 */
export type ProviderOptions = {
  readonly name: string
  /** Where it listens; 127.0.0.1 when absent. Several addresses are several hosts with one behaviour. */
  readonly addresses?: readonly [string, ...string[]]
  /** 0, the default, takes a free one. */
  readonly port?: number
  /** What it calls itself in the greeting and what its good certificate names; `mx.NAME.example` when absent. */
  readonly hostName?: string
  readonly behaviour?: BehaviourInput
  /** smtp when absent. lmtp believes XFORWARD. */
  readonly protocol?: 'smtp' | 'lmtp'
  /** Signs the good certificate; one is made when absent, see `Provider.authority`. */
  readonly authority?: Authority
  /** So many arrivals are kept; over it, MAIL is answered with 452. 500,000 when absent. */
  readonly capacity?: number
  /** `content` of arrivals is kept as well. */
  readonly keep?: 'facts' | 'content'
  /** Called for every arrival, also those that only nearly arrived, before the client can know. */
  readonly onArrival?: (arrival: Arrival) => void
}

export type Counts = {
  /** Connections taken since the start, open now, and the most that were open at once. */
  readonly sessions: number
  readonly open: number
  readonly mostOpen: number
  /** Arrivals by outcome. */
  readonly outcomes: Readonly<Record<Arrival['outcome'], number>>
}

export type Provider = AsyncDisposable & {
  readonly name: string
  readonly hostName: string
  /** The first of its addresses. */
  readonly address: string
  readonly addresses: readonly string[]
  readonly port: number
  /** `authority.certificate` is what a client must trust to find the good certificate good. */
  readonly authority: Authority
  readonly behaviour: () => Behaviour
  /** Changes these members of the behaviour it was opened with; `{}` goes back to that. What it remembered (greylist, throttle, times) is forgotten. */
  behave(change: BehaviourInput): Promise<Behaviour>
  /** All that was written down, in order, with every outcome. */
  arrivals(): readonly Arrival[]
  /** Every transaction that was begun, in order; four times as many as arrivals are kept. */
  beginnings(): readonly Beginning[]
  /** What was sent, byte for byte after dot-unstuffing; undefined unless `keep: 'content'`. */
  contentOf(arrival: Arrival): Buffer | undefined
  /** Waits until `count` messages have the outcome arrived, and answers with them; rejects when the signal fires. */
  waitForArrivals(count: number, signal: AbortSignal): Promise<readonly Arrival[]>
  /** Forgets beginnings, too. */
  clearArrivals(): void
  counts(): Counts
  /** Cuts every connection that is open, hanging ones too. */
  closeConnections(): void
}

export async function openProvider(options: ProviderOptions): Promise<Provider> {
  const provider = new RunningProvider(options)
  await provider.open()
  return provider
}

const NOTHING_YET: Counts['outcomes'] = { arrived: 0, deferredAfterDot: 0, refusedAfterDot: 0, hungAfterDot: 0, closedAfterDot: 0 }

/** Those that are put off begin again and again. */
const BEGINNINGS_PER_ARRIVAL = 4

class RunningProvider implements Provider {
  readonly name: string
  readonly hostName: string
  readonly addresses: readonly [string, ...string[]]
  readonly authority: Authority
  readonly #options: ProviderOptions
  readonly #initial: BehaviourInput
  readonly #capacity: number
  readonly #conversations = new Map<Conversation, string>()
  readonly #contexts = new Map<Behaviour['tls'], SecureContext>()
  readonly #contents = new WeakMap<Arrival, Buffer>()
  readonly #waiting = new Set<() => void>()
  #servers: Server[] = []
  /** While it refuses connections. */
  #held: AsyncDisposable[] = []
  readonly #closing: Promise<void>[] = []
  #port: number
  #rules: Rules
  #arrivals: Arrival[] = []
  #beginnings: Beginning[] = []
  #outcomes = { ...NOTHING_YET }
  #sessions = 0
  #mostOpen = 0

  constructor(options: ProviderOptions) {
    this.#options = options
    this.name = options.name
    this.hostName = options.hostName ?? `mx.${options.name}.example`
    this.addresses = options.addresses ?? ['127.0.0.1']
    this.authority = options.authority ?? createAuthority(`test authority of ${options.name}`, new Date())
    this.#capacity = options.capacity ?? 500_000
    this.#port = options.port ?? 0
    this.#initial = options.behaviour ?? {}
    this.#rules = this.#rulesFor(parseBehaviour(this.#initial))
  }

  get address(): string {
    return this.addresses[0]
  }

  get port(): number {
    return this.#port
  }

  behaviour(): Behaviour {
    return this.#rules.behaviour
  }

  async open(): Promise<void> {
    // A free port is taken even by a provider that refuses at first, so that it has a port to refuse on.
    await this.#listen()
    if (this.#rules.behaviour.listening === 'refused') await this.#refuse()
  }

  async behave(change: BehaviourInput): Promise<Behaviour> {
    const behaviour = parseBehaviour({ ...this.#initial, ...change })
    this.#rules = this.#rulesFor(behaviour)
    if (behaviour.listening === 'refused') await this.#refuse()
    else if (this.#servers.length === 0) await this.#listen()
    return behaviour
  }

  arrivals(): readonly Arrival[] {
    return this.#arrivals
  }

  beginnings(): readonly Beginning[] {
    return this.#beginnings
  }

  contentOf(arrival: Arrival): Buffer | undefined {
    return this.#contents.get(arrival)
  }

  async waitForArrivals(count: number, signal: AbortSignal): Promise<readonly Arrival[]> {
    for (;;) {
      if (this.#outcomes.arrived >= count) return this.#arrivals.filter(({ outcome }) => outcome === 'arrived')
      if (signal.aborted) throw new Error(`${this.name}: ${this.#outcomes.arrived} of ${count} messages arrived`, { cause: signal.reason })
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
      await promise
      this.#waiting.delete(resolve)
    }
  }

  clearArrivals(): void {
    this.#arrivals = []
    this.#beginnings = []
    this.#outcomes = { ...NOTHING_YET }
  }

  counts(): Counts {
    return { sessions: this.#sessions, open: this.#conversations.size, mostOpen: this.#mostOpen, outcomes: { ...this.#outcomes } }
  }

  closeConnections(): void {
    for (const conversation of this.#conversations.keys()) conversation.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopListening()
    this.closeConnections()
    await Promise.all([...this.#closing, this.#releasePorts()])
  }

  #rulesFor(behaviour: Behaviour): Rules {
    const judge = new Judge(behaviour)
    return {
      provider: this.name,
      hostName: this.hostName,
      protocol: this.#options.protocol ?? 'smtp',
      behaviour,
      decide: (question) => {
        // Full is an answer: a message that could not be written down must not be taken.
        if (question.stage === 'mail' && this.#isFull()) return { do: 'reply', reply: '452 4.3.1 No room to write down more' }
        return judge.decide(question)
      },
    }
  }

  async #listen(): Promise<void> {
    const servers: Server[] = []
    try {
      for (const address of this.addresses) {
        const server = createServer((socket) => this.#meet(socket))
        servers.push(server)
        await listening(server, address, this.#port)
        this.#port = (server.address() as AddressInfo).port
      }
    } catch (error) {
      await Promise.all(servers.map(closed))
      throw new Error(`provider ${this.name} cannot listen on ${this.addresses.join(', ')} port ${this.#port}`, { cause: error })
    }
    this.#servers = servers
    await this.#releasePorts()
  }

  async #refuse(): Promise<void> {
    if (this.#servers.length === 0) return
    this.#stopListening()
    this.#held = await Promise.all(this.addresses.map((address) => holdPort(address, this.#port)))
  }

  async #releasePorts(): Promise<void> {
    await Promise.all(this.#held.splice(0).map((held) => held[Symbol.asyncDispose]()))
  }

  /** Connections that are open go on; a server counts as closed only when the last of them has ended. */
  #stopListening(): void {
    for (const server of this.#servers) this.#closing.push(closed(server))
    this.#servers = []
  }

  #meet(socket: Socket): void {
    const sourceAddress = plainAddress(socket.remoteAddress)
    const session = (this.#sessions += 1)
    const conversation: Conversation = new Conversation(socket, {
      client: { sourceAddress, host: plainAddress(socket.localAddress), session },
      now: Date.now,
      rules: () => this.#rules,
      secureContext: () => this.#secureContext(this.#rules.behaviour.tls),
      record: (arrival, content) => this.#record(arrival, content),
      begin: (beginning) => this.#begin(beginning),
      ended: () => this.#conversations.delete(conversation),
    })
    this.#conversations.set(conversation, sourceAddress)
    this.#mostOpen = Math.max(this.#mostOpen, this.#conversations.size)
    const most = this.#rules.behaviour.connectionsPerSource
    if (most !== undefined && this.#openFrom(sourceAddress) > most.limit) {
      conversation.dismiss(most.reply.replaceAll('{ip}', sourceAddress))
    } else {
      conversation.start()
    }
  }

  #openFrom(sourceAddress: string): number {
    return this.#conversations.values().reduce((count, address) => count + (address === sourceAddress ? 1 : 0), 0)
  }

  #isFull(): boolean {
    return this.#arrivals.length >= this.#capacity || this.#beginnings.length > this.#capacity * BEGINNINGS_PER_ARRIVAL
  }

  /** The first that is one too many is kept, and refused like all after it. */
  #begin(beginning: Beginning): void {
    if (this.#beginnings.length <= this.#capacity * BEGINNINGS_PER_ARRIVAL) this.#beginnings.push(beginning)
  }

  #record(arrival: Arrival, content: Buffer): void {
    this.#arrivals.push(arrival)
    this.#outcomes[arrival.outcome] += 1
    if (this.#options.keep === 'content') this.#contents.set(arrival, Buffer.from(content))
    this.#options.onArrival?.(arrival)
    for (const look of this.#waiting) look()
  }

  #secureContext(kind: Behaviour['tls']): SecureContext {
    const known = this.#contexts.get(kind)
    if (known !== undefined) return known
    const { certificate, key } = this.#certificate(kind)
    const context = createSecureContext({ cert: certificate, key })
    this.#contexts.set(kind, context)
    return context
  }

  #certificate(kind: Behaviour['tls']): KeyPair {
    const now = new Date()
    switch (kind) {
      case 'good':
      case 'none':
        return issueCertificate(this.authority, { names: [this.hostName], ...aYearFrom(now) })
      case 'wrongName':
        return issueCertificate(this.authority, { names: ['somebody-else.example'], ...aYearFrom(now) })
      case 'expired':
        return issueCertificate(this.authority, { names: [this.hostName], ...expiredBefore(now) })
      case 'selfSigned':
        return selfSignCertificate({ names: [this.hostName], ...aYearFrom(now) })
    }
  }
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port, backlog: 1024, ipv6Only: host.includes(':') }, resolve)
  await promise
  server.removeListener('error', reject)
}

async function closed(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  await promise
}

const plainAddress = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '')
