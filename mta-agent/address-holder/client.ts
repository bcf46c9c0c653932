import { createConnection, type Socket } from 'node:net'
import { onLines } from './lines.ts'
import { KERNEL_LATE, type Millis } from './lifetimes.ts'
import type { AddressHolder, Attachment, ManagedAddress } from './port.ts'
import { LONGEST_LINE, parseGreeting, parseReply, ProtocolFault, type Request } from './protocol.ts'

/**
 * The agent's side of the socket. Connects when it is first asked for something, and again after the connection has ended; what was held has
 * ended with it, which the next answer tells by naming nothing.
 */

export class HolderGone extends Error {
  override readonly name = 'HolderGone'
}

/** Nobody has confirmed that the addresses are gone. The kernel drops them KERNEL_LATE after `deadline`, whatever became of the holder. */
export class AddressesUncertain extends Error {
  override readonly name = 'AddressesUncertain'
  readonly deadline: Millis
  constructor(deadline: Millis, cause: unknown) {
    super(`the address holder did not confirm that the addresses are gone: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
    this.deadline = deadline
  }
}

export type ClientOptions = {
  readonly path: string
  readonly clock: () => Millis
  /** How long any answer may take; a holder that takes longer is given up, which removes what it holds. */
  readonly timeoutMillis?: number
}

/** Above what an attach takes with its probe and all that the holder itself gives up after. */
const TIMEOUT_MILLIS = 5_000

type Connection = { readonly socket: Socket; readonly waiting: Map<number, PromiseWithResolvers<Attachment>> }

export class HolderClient implements AddressHolder, Disposable {
  readonly #options: Required<ClientOptions>
  #connection: Promise<Connection> | undefined
  #nextId = 1
  #wanted: readonly string[] = []
  /** All that may still be there, with their deadlines: what is removed must be gone also when a holder before this one put it there. */
  readonly #named = new Map<string, Millis>()

  constructor(options: ClientOptions) {
    this.#options = { timeoutMillis: TIMEOUT_MILLIS, ...options }
  }

  async attach(addresses: readonly ManagedAddress[], deadline: Millis): Promise<Attachment> {
    this.#wanted = addresses.map(({ address }) => address)
    this.#note(deadline)
    return this.#ask({ ask: 'attach', addresses, deadline })
  }

  async extend(deadline: Millis): Promise<Attachment> {
    this.#note(deadline)
    return this.#ask({ ask: 'extend', deadline })
  }

  /** Names only what may be there because of this client: the same address may by now be another Pod's on this node. */
  async remove(): Promise<void> {
    this.#forgetGone()
    const asked = new Map(this.#named)
    if (asked.size === 0) return
    try {
      await this.#ask({ ask: 'remove', addresses: [...asked.keys()] })
    } catch (error) {
      throw new AddressesUncertain(Math.max(...asked.values()), error)
    }
    // What was attached again meanwhile has another deadline.
    for (const [address, until] of asked) if (this.#named.get(address) === until) this.#named.delete(address)
  }

  #forgetGone(): void {
    const now = this.#options.clock()
    for (const [address, until] of this.#named) if (until + KERNEL_LATE < now) this.#named.delete(address)
  }

  #note(deadline: Millis): void {
    this.#forgetGone()
    for (const address of this.#wanted) this.#named.set(address, deadline)
  }

  /** Ends the connection, and with it what is held. */
  [Symbol.dispose](): void {
    this.#connection?.then(
      ({ socket }) => socket.destroy(),
      () => {},
    )
  }

  async #ask(request: WithoutId): Promise<Attachment> {
    const { timeoutMillis } = this.#options
    const connection = await (this.#connection ??= this.#connect())
    const id = this.#nextId++
    const answer = Promise.withResolvers<Attachment>()
    connection.waiting.set(id, answer)
    connection.socket.write(`${JSON.stringify({ id, ...request })}\n`)
    const late = setTimeout(
      () => connection.socket.destroy(new HolderGone(`no answer to ${request.ask} in ${timeoutMillis} ms`)),
      timeoutMillis,
    )
    try {
      return await answer.promise
    } finally {
      clearTimeout(late)
    }
  }

  async #connect(): Promise<Connection> {
    const { path, clock, timeoutMillis } = this.#options
    const before = clock()
    const socket = createConnection(path)
    const waiting: Connection['waiting'] = new Map()
    const greeted = Promise.withResolvers<void>()
    let isGreeted = false
    let ended: unknown = new HolderGone('the address holder ended the connection')
    onLines(socket, LONGEST_LINE, (line) => {
      if (isGreeted) return settle(waiting, line)
      checkGreeting(line, before, clock())
      isGreeted = true
      greeted.resolve()
    })
    socket.on('error', (error) => (ended = error))
    socket.once('close', () => {
      this.#connection = undefined
      const gone =
        ended instanceof HolderGone ? ended : new HolderGone(`the address holder cannot be spoken to: ${String(ended)}`, { cause: ended })
      greeted.reject(gone)
      for (const answer of waiting.values()) answer.reject(gone)
    })
    const late = setTimeout(() => socket.destroy(new HolderGone(`no greeting in ${timeoutMillis} ms`)), timeoutMillis)
    await greeted.promise.finally(() => clearTimeout(late))
    return { socket, waiting }
  }
}

type WithoutId = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never

/** Deadlines mean nothing to a process with another clock (a time namespace of its own, another machine behind a socket). */
function checkGreeting(line: string, before: Millis, after: Millis): void {
  if (line.includes('"error"')) throw new HolderGone(`the address holder refused: ${JSON.stringify(parseReply(line))}`)
  const { clock } = parseGreeting(line)
  if (clock < before || clock > after)
    throw new ProtocolFault(`the holder's clock must be between ${before} and ${after} as ours was, was ${clock}`)
}

function settle(waiting: Connection['waiting'], line: string): void {
  const reply = parseReply(line)
  const answer = reply.id === undefined ? undefined : waiting.get(reply.id)
  if (!answer) throw new ProtocolFault(`a reply must be to a request, was ${line.slice(0, 200)}`)
  if (reply.id !== undefined) waiting.delete(reply.id)
  if ('error' in reply) answer.reject(new Error(reply.error))
  else answer.resolve({ held: reply.held, refused: reply.refused })
}
