import { once } from 'node:events'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Millis } from '../queue/queue-store.ts'
import { ReplyParser, type WireReply } from './reply-parser.ts'

/**
 * One TCP connection to an SMTP server, in whole replies and with a timer for each wait. Whatever ends it (peer, timer, us) is one
 * kind of failure, told to the one who waits next; a wire that has failed stays failed.
 */

/** The connection is gone; `code` is of the operating system, of TLS, or one of ours (`TIMEOUT`, `CLOSED`, `NOT_SMTP`, `STOPPED`). */
export class WireFailed extends Error {
  override readonly name = 'WireFailed'
  readonly code: string
  readonly syscall: string | undefined
  constructor(code: string, message: string, syscall?: string) {
    super(message)
    this.code = code
    this.syscall = syscall
  }
}

export type WireTarget = { readonly address: string; readonly port: number; readonly localAddress: string }

/** Replies that nobody has read. Most that may be due are those to MAIL, 100 times RCPT and DATA, said as one group. */
const MAX_UNREAD = 128

/** Content is handed to TCP in pieces of this size, so that the block timer watches each (RFC 5321 section 4.5.3.2.5). */
const BLOCK = 65_536

export class Wire {
  #socket: Socket
  #parser = new ReplyParser()
  #replies: WireReply[] = []
  #waiting: { readonly resolve: (reply: WireReply) => void; readonly reject: (cause: Error) => void } | undefined
  #failure: WireFailed | undefined
  #onIdleEvent: (() => void) | undefined

  /** Rejects with WireFailed. */
  static async open(target: WireTarget, timeoutMillis: Millis, signal: AbortSignal): Promise<Wire> {
    if (signal.aborted) throw new WireFailed('STOPPED', 'stopped before connecting')
    const socket = connectTcp({ host: target.address, port: target.port, localAddress: target.localAddress, noDelay: true })
    const timer = setTimeout(() => socket.destroy(new WireFailed('TIMEOUT', `no connection within ${timeoutMillis} ms`)), timeoutMillis)
    const stop = (): void => void socket.destroy(new WireFailed('STOPPED', 'stopped while connecting'))
    signal.addEventListener('abort', stop, { once: true })
    try {
      await once(socket, 'connect')
      return new Wire(socket)
    } catch (error) {
      throw toWireFailed(error)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
    }
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#listen()
  }

  /** The source address the kernel gave: the one that was asked for. */
  get localAddress(): string | undefined {
    return this.#socket.localAddress
  }

  /** Nothing has failed, and the server has said nothing that was not read: the next reply answers the next command. */
  isQuiet(): boolean {
    return this.#failure === undefined && this.#replies.length === 0 && this.#parser.isBetweenReplies()
  }

  /** Calls once when a quiet wire stops being quiet. */
  onDisturbed(listener: (() => void) | undefined): void {
    this.#onIdleEvent = listener
  }

  /** Pieces leave in one packet when they fit. Does not wait: the reply that follows does. */
  send(...pieces: readonly (string | Buffer)[]): void {
    if (this.#failure !== undefined) return
    this.#socket.cork()
    for (const piece of pieces) this.#socket.write(piece)
    this.#socket.uncork()
  }

  /** The next reply, in the order they were sent. Rejects with WireFailed; the wire is closed then. */
  async read(timeoutMillis: Millis): Promise<WireReply> {
    const reply = this.#replies.shift()
    if (reply !== undefined) return reply
    if (this.#failure !== undefined) throw this.#failure
    const { promise, resolve, reject } = Promise.withResolvers<WireReply>()
    this.#waiting = { resolve, reject }
    const timer = setTimeout(() => this.#fail(new WireFailed('TIMEOUT', `no reply within ${timeoutMillis} ms`)), timeoutMillis)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiting = undefined
    }
  }

  /**
   * Hands content to TCP, piece by piece. 'answered': the server replied before it had everything; what it said is to be read next
   * and the wire is of no further use. Rejects with WireFailed.
   */
  async sendContent(content: Buffer, timeoutMillis: Millis): Promise<'sent' | 'answered'> {
    for (let from = 0; from < content.length; from += BLOCK) {
      if (this.#replies.length > 0) return 'answered'
      if (this.#failure !== undefined) throw this.#failure
      if (!this.#socket.write(content.subarray(from, from + BLOCK))) await this.#drained(timeoutMillis)
    }
    return this.#replies.length > 0 ? 'answered' : 'sent'
  }

  /** Hand-shakes. Any certificate will do (RFC 3207, opportunistic); says whether this one proves the name. */
  async startTls(name: string, timeoutMillis: Millis): Promise<'verified' | 'unverified'> {
    // What came in clear behind the 220 may be from anyone, and must not be read as if it had come through TLS.
    if (!this.isQuiet()) throw this.#fail(new WireFailed('NOT_SMTP', 'bytes followed the reply to STARTTLS'))
    const clear = this.#socket.removeAllListeners()
    const tls = connectTls({ socket: clear, rejectUnauthorized: false, ...(isIP(name) === 0 ? { servername: name } : {}) })
    clear.on('error', (error) => tls.destroy(error))
    const timer = setTimeout(() => tls.destroy(new WireFailed('TIMEOUT', `no TLS handshake within ${timeoutMillis} ms`)), timeoutMillis)
    this.#socket = tls
    try {
      await secured(tls)
    } catch (error) {
      throw this.#fail(toWireFailed(error))
    } finally {
      clearTimeout(timer)
    }
    this.#parser = new ReplyParser()
    this.#listen()
    return tls.authorized ? 'verified' : 'unverified'
  }

  /** Closes at once. Whoever waits is told. */
  close(why: WireFailed = new WireFailed('STOPPED', 'closed by us')): void {
    this.#fail(why)
  }

  #listen(): void {
    this.#socket.on('data', (bytes: Buffer) => this.#receive(bytes))
    this.#socket.on('error', (error) => void this.#fail(toWireFailed(error)))
    this.#socket.on('end', () => void this.#fail(new WireFailed('CLOSED', 'the server closed the connection')))
    this.#socket.on('close', () => void this.#fail(new WireFailed('CLOSED', 'the server closed the connection')))
  }

  #receive(bytes: Buffer): void {
    if (this.#failure !== undefined) return
    try {
      this.#replies.push(...this.#parser.feed(bytes))
    } catch (error) {
      this.#fail(new WireFailed('NOT_SMTP', error instanceof Error ? error.message : String(error)))
      return
    }
    if (this.#replies.length === 0) return
    if (this.#waiting !== undefined) {
      this.#waiting.resolve(this.#replies.shift()!)
      this.#waiting = undefined
    }
    if (this.#replies.length > MAX_UNREAD) this.#fail(new WireFailed('NOT_SMTP', `more than ${MAX_UNREAD} replies came at once`))
    else if (this.#replies.length > 0) this.#disturb()
  }

  #fail(failure: WireFailed): WireFailed {
    if (this.#failure !== undefined) return this.#failure
    this.#failure = failure
    this.#socket.destroy()
    this.#waiting?.reject(failure)
    this.#waiting = undefined
    this.#disturb()
    return failure
  }

  #disturb(): void {
    const listener = this.#onIdleEvent
    this.#onIdleEvent = undefined
    listener?.()
  }

  /** Until TCP takes more, the server speaks, or it takes too long. */
  async #drained(timeoutMillis: Millis): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const settle = (): void => (this.#failure === undefined ? resolve() : reject(this.#failure))
    const timer = setTimeout(() => this.#fail(new WireFailed('TIMEOUT', `no content taken within ${timeoutMillis} ms`)), timeoutMillis)
    this.#socket.once('drain', settle)
    this.#onIdleEvent = settle
    try {
      await promise
    } finally {
      clearTimeout(timer)
      this.#socket.off('drain', settle)
      this.#onIdleEvent = undefined
    }
  }
}

function secured(tls: TLSSocket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  tls.once('secureConnect', resolve)
  tls.once('error', reject)
  tls.once('close', () => reject(new WireFailed('CLOSED', 'the server closed the connection in the TLS handshake')))
  return promise
}

function toWireFailed(error: unknown): WireFailed {
  if (error instanceof WireFailed) return error
  if (!(error instanceof Error)) return new WireFailed('UNKNOWN', String(error))
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  return new WireFailed(code, error.message, 'syscall' in error && typeof error.syscall === 'string' ? error.syscall : undefined)
}
