import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { SMTPServerAuthentication, SMTPServerAuthenticationResponse, SMTPServerDataStream, SMTPServerOptions } from 'smtp-server'
import type { Envelope } from '../domain/envelope.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'
import type { QueueStore } from '../queue/queue-store.ts'
import { acceptMessage } from './accept.ts'
import type { Certificate } from './certificate.ts'
import { clientKey, contains, type Networks } from './networks.ts'
import { MessageIntake, type Intake, type Trace } from './normalise.ts'
import { SubmissionServer, textOf, type Site, type SubmissionSession, type Transaction } from './session.ts'
import { Authenticator, type Users } from './users.ts'

/**
 * Where clients hand in mail (RFC 6409): one port with STARTTLS and, when there is a certificate, one with TLS from the first byte.
 * Everything is bounded: sessions, recipients, bytes of messages being received. No byte a client sends may end the process.
 */

export type SubmissionSettings = {
  readonly hostName: string
  /** undefined: every address of the machine. */
  readonly listenAddress: string | undefined
  /** 0: any free one. */
  readonly port: number
  readonly implicitTlsPort: number
  readonly mode: 'Run' | 'Hold' | 'Drain'
  readonly maxMessageBytes: number
  readonly maxRecipients: number
  readonly maxConnections: number
  readonly allowedNetworks: Networks
}

export type Log = Readonly<Record<'debug' | 'info' | 'warn' | 'error', (facts: object, message: string) => void>>

export type SubmissionMetrics = {
  readonly sessions: { set(value: number): void }
  readonly messages: { inc(labels: { result: 'accepted' | 'refused' | 'aborted' }): void }
  readonly bytes: { inc(value: number): void }
  readonly refusals: { inc(labels: { at: 'MAIL' | 'RCPT' | 'DATA'; code: string }): void }
  readonly authentications: { inc(labels: { result: 'verified' | 'wrong' | 'throttled' | 'busy' }): void }
  readonly acceptSeconds: { observe(value: number): void }
}

export type SubmissionPorts = {
  readonly settings: () => SubmissionSettings
  readonly store: Pick<QueueStore, 'append' | 'room'>
  readonly users: () => Users
  readonly certificate: () => Certificate | undefined
  readonly log: Log
  readonly metrics: SubmissionMetrics
  readonly clock: () => number
  /** Whether mail is taken in at all, or what clients are told instead: with 421 from their connection on. Always open, when absent. */
  readonly gate?: () => 'open' | SmtpReply
  /** So many random bytes. */
  readonly random: (bytes: number) => Buffer
}

export type Submission = AsyncDisposable & {
  /** Ports that are listened on; implicit TLS only with a certificate. */
  readonly ports: { readonly submission: number; readonly submissions?: number }
  /** Messages being received or stored now. In mode Drain it only falls, and at 0 nothing comes any more. */
  receiving(): number
  /** Takes over changed settings and certificate. Opens the port of implicit TLS when there is a certificate now. */
  reconfigure(): Promise<void>
  /** Ends every session now, with 421: for a gate that has closed. */
  interrupt(): void
  /** Accepts nothing new, lets running transactions end until the signal aborts, then ends them. Resolves when no session is left. */
  drain(signal: AbortSignal): Promise<void>
}

/** RFC 5321 section 4.5.3.2.7: at least 5 minutes. */
const IDLE_TIMEOUT = 300_000
const MAX_COMMAND_LENGTH = 12_288
/** From DATA to the final dot. */
const MAX_DATA_MILLIS = 1_800_000

export async function openSubmission(ports: SubmissionPorts): Promise<Submission> {
  await using opening = new AsyncDisposableStack()
  const listener = opening.use(new Listener(ports))
  await listener.open()
  opening.move()
  return listener
}

class Listener implements Submission {
  readonly #ports: SubmissionPorts
  readonly #authenticator: Authenticator
  readonly #site: Site
  readonly #accepting = new Set<Promise<unknown>>()
  #plain: SubmissionServer | undefined
  #implicit: SubmissionServer | undefined
  #stopping = false
  #inFlightBytes = 0
  #pair: Certificate | undefined
  /** One change after the other: two at once would take the port of implicit TLS from each other. Never rejects. */
  #changing: Promise<void> = Promise.resolve()

  constructor(ports: SubmissionPorts) {
    this.#ports = ports
    this.#authenticator = new Authenticator({ users: ports.users, clock: ports.clock, cacheKey: ports.random(32) })
    this.#site = {
      hostName: () => ports.settings().hostName,
      maxMessageBytes: () => ports.settings().maxMessageBytes,
      maxRecipients: () => ports.settings().maxRecipients,
      mayRelayFrom: (address) => contains(ports.settings().allowedNetworks, address),
      admission: () => this.#admission(),
      hasCertificate: () => ports.certificate() !== undefined,
      hasUsers: () => ports.users().known.size > 0,
      refused: (session, reply, at) => this.#noteRefusal(session, reply, at),
      receive: (session, transaction, stream) => this.#track(this.#receive(session, transaction, stream)),
    }
  }

  get ports(): Submission['ports'] {
    const implicit = portOf(this.#implicit)
    return { submission: portOf(this.#plain) ?? 0, ...(implicit === undefined ? {} : { submissions: implicit }) }
  }

  receiving(): number {
    return this.#accepting.size
  }

  async open(): Promise<void> {
    this.#pair = this.#ports.certificate()
    this.#plain = await this.#listen('starttls', this.#ports.settings().port)
    await this.#openImplicit()
  }

  reconfigure(): Promise<void> {
    const changed = this.#changing.then(() => this.#change())
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  async #change(): Promise<void> {
    const { hostName, maxMessageBytes, maxConnections } = this.#ports.settings()
    const pair = this.#ports.certificate()
    for (const server of this.#servers()) {
      Object.assign(server.options, { name: hostName, size: maxMessageBytes, maxClients: maxConnections })
      if (pair !== undefined && pair !== this.#pair) server.updateSecureContext({ cert: pair.cert, key: pair.key })
    }
    this.#pair = pair
    await this.#openImplicit()
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#stopping = true
    for (const server of this.#servers()) {
      server.server.close()
      // Sockets in a TLS handshake have no session that could end.
      for (const socket of server._pendingSockets.values()) socket.destroy()
      for (const session of server.sessions) session.stop()
    }
    const abort = () => this.#sessions().forEach((session) => session.abort())
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    await Promise.all(this.#servers().map((server) => closed(server)))
    // A client may be gone while its message is still being stored.
    await Promise.allSettled(this.#accepting)
    signal.removeEventListener('abort', abort)
  }

  interrupt(): void {
    for (const session of this.#sessions()) session.abort('this instance takes no mail any more; try again')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(AbortSignal.abort())
  }

  async #openImplicit(): Promise<void> {
    if (this.#implicit !== undefined || this.#stopping || this.#ports.certificate() === undefined) return
    const server = await this.#listen('implicit', this.#ports.settings().implicitTlsPort)
    // A drain that began meanwhile has not seen it.
    if (this.#stopping) server.server.close()
    else this.#implicit = server
  }

  async #listen(tls: 'starttls' | 'implicit', port: number): Promise<SubmissionServer> {
    const server = new SubmissionServer(this.#options(tls), this.#site)
    // Listening fails before any session can; after that, errors are those of clients.
    const failed = once(server, 'error').then(([error]) => Promise.reject(error as Error))
    const opened = once(server.server, 'listening')
    server.listen(port, this.#ports.settings().listenAddress)
    await Promise.race([opened, failed])
    failed.catch(() => undefined)
    server.on('error', (error: Error) => this.#ports.log.debug({ error: error.message }, 'session failed'))
    return server
  }

  #options(tls: 'starttls' | 'implicit'): SMTPServerOptions {
    const { hostName, maxMessageBytes, maxConnections } = this.#ports.settings()
    const pair = this.#ports.certificate()
    return {
      name: hostName,
      secure: tls === 'implicit',
      ...(pair === undefined ? {} : { cert: pair.cert, key: pair.key }),
      // smtp-server's own default is TLS 1.0.
      minVersion: 'TLSv1.2',
      size: maxMessageBytes,
      maxClients: maxConnections,
      maxCommandLength: MAX_COMMAND_LENGTH,
      socketTimeout: IDLE_TIMEOUT,
      // Who may submit is decided at MAIL; with its own rule smtp-server would know nothing of allowed networks.
      authOptional: true,
      authMethods: ['PLAIN', 'LOGIN'],
      disabledCommands: ['XCLIENT', 'XFORWARD', 'WIZ', 'SHELL', 'KILL'],
      disableReverseLookup: true,
      hideENHANCEDSTATUSCODES: false,
      hideDSN: false,
      logger: false,
      onConnect: (_session, callback) => callback(this.#refusalOfConnection()),
      onAuth: (auth, session, callback) => void this.#authenticate(auth, session, callback),
      onData: (stream, session, callback) => void this.#answerData(stream, session, callback),
      onClose: () => this.#countSessions(),
    }
  }

  #refusalOfConnection(): Error | null {
    this.#countSessions()
    if (this.#stopping) return replyError(421, '4.3.2 this instance is stopping; try again')
    const gate = this.#gate()
    if (gate !== 'open' && gate.code === 421) return replyError(gate.code, textOf(gate))
    // smtp-server forgets a connection when it has said goodbye, before the client has hung up.
    if (this.#connections() <= this.#ports.settings().maxConnections) return null
    return replyError(421, '4.7.0 too many connections; try again')
  }

  async #authenticate(auth: SMTPServerAuthentication, session: { remoteAddress: string }, callback: AuthCallback): Promise<void> {
    try {
      const user = auth.username ?? ''
      const client = clientKey(session.remoteAddress)
      // RFC 4616: nobody may act for another here, so another identity beside one's own is as good as a wrong password.
      const actsForAnother = Boolean(auth.authzid && auth.authcid && auth.authzid !== auth.authcid)
      const result = await this.#authenticator.verify(actsForAnother ? '' : user, auth.password ?? '', client)
      this.#ports.metrics.authentications.inc({ result })
      if (result !== 'verified') this.#ports.log.warn({ client: session.remoteAddress, user, result }, 'authentication refused')
      if (result === 'wrong') this.#serverOf(session)?.sessionOf(session).noteAuthFailure()
      if (result === 'verified') callback(null, { user })
      else callback(AUTH_REFUSALS[result]())
    } catch (error) {
      this.#ports.log.error({ error }, 'authentication failed')
      callback(replyError(454, '4.7.0 temporary authentication failure'))
    }
  }

  async #answerData(stream: SMTPServerDataStream, session: object, callback: DataCallback): Promise<void> {
    try {
      const found = this.#serverOf(session)?.sessionOf(session)
      if (found === undefined) throw new Error('unknown session')
      const reply = await found.receive(stream)
      if (reply.code < 400) callback(null, textOf(reply))
      else callback(replyError(reply.code, textOf(reply)))
    } catch (error) {
      this.#ports.log.error({ error }, 'message failed')
      stream.resume()
      callback(replyError(451, '4.3.0 the message could not be taken; try later'))
    }
  }

  /** DATA: take, check, add, store, and only then say 250. */
  async #receive(session: SubmissionSession, transaction: Transaction, stream: SMTPServerDataStream): Promise<SmtpReply> {
    const startedAt = this.#ports.clock()
    // A client that trickles its message would hold a place, its bytes and a drain for ever.
    const late = setTimeout(() => session.abort(), MAX_DATA_MILLIS)
    const budget = new ByteBudget((delta) => (this.#inFlightBytes += delta))
    try {
      const intake = new MessageIntake({ maxMessageBytes: this.#ports.settings().maxMessageBytes })
      if ((await this.#collect(stream, intake, budget)) === 'aborted') {
        this.#ports.metrics.messages.inc({ result: 'aborted' })
        return { code: 451, enhanced: '4.4.2', text: 'connection closed before the end of the message' }
      }
      const taken = intake.finish(this.#traceOf(session, transaction))
      const reply = 'content' in taken ? await this.#store(session, transaction, taken) : taken
      this.#ports.metrics.messages.inc({ result: reply.code < 400 ? 'accepted' : 'refused' })
      this.#ports.metrics.acceptSeconds.observe((this.#ports.clock() - startedAt) / 1000)
      return reply
    } finally {
      clearTimeout(late)
      budget.release()
    }
  }

  #traceOf(session: SubmissionSession, { recipients }: Transaction): Trace {
    const [only, ...others] = recipients
    return {
      hostName: this.#ports.settings().hostName,
      clientName: String(session.hostNameAppearsAs),
      clientAddress: session.remoteAddress,
      protocol: session._transmissionType(),
      transaction: session.transactionId,
      ...(only === undefined || others.length > 0 ? {} : { onlyRecipient: only.address }),
      now: this.#ports.clock(),
      randomId: this.#ports.random(16).toString('hex'),
    }
  }

  async #store(session: SubmissionSession, transaction: Transaction, taken: Intake): Promise<SmtpReply> {
    const { content } = taken
    const { mail, recipients } = transaction
    const { transactionId: name, remoteAddress: client, user } = session
    const facts = { transaction: name, client, user, sender: mail.sender, recipients: recipients.length, size: content.length }
    const envelope = envelopeOf(transaction, taken)
    const acceptance = await acceptMessage(this.#ports.store, { envelope, content, acceptedAt: this.#ports.clock() })
    if (acceptance.kind === 'accepted') {
      this.#ports.metrics.bytes.inc(facts.size)
      this.#ports.log.info({ ...facts, queueId: acceptance.queueId }, 'message accepted')
    } else if (acceptance.kind === 'failed') {
      this.#ports.log.error({ ...facts, error: acceptance.error }, 'message not stored')
    } else if (acceptance.kind === 'notCommitted') {
      this.#ports.log.warn(facts, 'message not committed')
    }
    return acceptance.reply
  }

  /** Reads to the end also what is refused: the reply has its place after the final dot. */
  async #collect(stream: SMTPServerDataStream, intake: MessageIntake, budget: ByteBudget): Promise<'ended' | 'aborted'> {
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        intake.push(chunk)
        budget.resize(intake.bytes)
        if (this.#inFlightBytes > this.#maxInFlightBytes()) {
          intake.refuse({ code: 452, enhanced: '4.3.1', text: 'too many messages are being received; try later' })
          budget.resize(0)
        }
      }
      return 'ended'
    } catch {
      // The stream's only error is that the client is gone.
      return 'aborted'
    }
  }

  #gate(): 'open' | SmtpReply {
    return this.#ports.gate?.() ?? 'open'
  }

  #admission() {
    const { mode, maxMessageBytes } = this.#ports.settings()
    return {
      mode,
      stopping: false,
      gate: this.#gate(),
      maxMessageBytes,
      queueRoom: this.#ports.store.room(0),
      inFlightBytes: this.#inFlightBytes,
      maxInFlightBytes: this.#maxInFlightBytes(),
    }
  }

  /**
   * Bytes of messages being received by all sessions together. Two of the largest always fit. What a message costs beside them: its own copy
   * while our lines are put in front, which happens to one message at a time.
   */
  #maxInFlightBytes(): number {
    return Math.max(67_108_864, 2 * this.#ports.settings().maxMessageBytes)
  }

  #noteRefusal(session: SubmissionSession, reply: SmtpReply, at: 'MAIL' | 'RCPT' | 'DATA'): void {
    const code = `${reply.code} ${reply.enhanced ?? ''}`.trim()
    this.#ports.metrics.refusals.inc({ at, code })
    const facts = { transaction: session.transactionId, client: session.remoteAddress, user: session.user, at, code, reason: reply.text }
    this.#ports.log.info(facts, 'refused')
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    this.#accepting.add(promise)
    const forget = () => this.#accepting.delete(promise)
    promise.then(forget, forget)
    return promise
  }

  #servers(): SubmissionServer[] {
    return [this.#plain, this.#implicit].filter((server) => server !== undefined)
  }

  #sessions(): SubmissionSession[] {
    return this.#servers().flatMap((server) => [...server.sessions])
  }

  #connections(): number {
    return this.#servers().reduce((sum, server) => sum + server.connections.size, 0)
  }

  #serverOf(session: object): SubmissionServer | undefined {
    return this.#servers().find((server) => server.knows(session))
  }

  #countSessions(): void {
    this.#ports.metrics.sessions.set(this.#connections())
  }
}

type AuthCallback = (error: Error | null, response?: SMTPServerAuthenticationResponse) => void
type DataCallback = (error: Error | null, message?: string) => void

const AUTH_REFUSALS = {
  wrong: () => replyError(535, '5.7.8 authentication credentials invalid'),
  throttled: () => replyError(454, '4.7.0 too many failed authentications from your address; try later'),
  busy: () => replyError(454, '4.7.0 too many authentications at a time; try later'),
}

/** What one message has of the common budget. */
class ByteBudget {
  readonly #change: (delta: number) => void
  #held = 0

  constructor(change: (delta: number) => void) {
    this.#change = change
  }

  resize(bytes: number): void {
    this.#change(bytes - this.#held)
    this.#held = bytes
  }

  release(): void {
    this.resize(0)
  }
}

/**
 * BODY and SMTPUTF8 are what the message needs, not what the client declared: with too little of them it would be sent where it cannot go,
 * with too much it could not be sent where it can.
 */
function envelopeOf(transaction: Transaction, taken: Intake): Envelope {
  const { mail, recipients } = transaction
  const inEnvelope = [mail.sender, ...recipients.map(({ address }) => address)].some((address) => /\P{ASCII}/u.test(address))
  return {
    sender: mail.sender,
    recipients,
    body: taken.eightBit ? '8BITMIME' : '7BIT',
    smtpUtf8: mail.smtpUtf8 && (inEnvelope || taken.eightBitHeader),
    ...(mail.returnContent === undefined ? {} : { returnContent: mail.returnContent }),
    ...(mail.envelopeId === undefined ? {} : { envelopeId: mail.envelopeId }),
  }
}

function replyError(responseCode: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode })
}

function portOf(server: SubmissionServer | undefined): number | undefined {
  return (server?.server.address() as AddressInfo | null | undefined)?.port
}

async function closed(server: SubmissionServer): Promise<void> {
  // Not `once` of node:events: it rejects on 'error', and a client that resets its connection would end the wait for all others.
  while (server.sessions.size > 0) await new Promise((resolve) => void server.once('sessionEnd', resolve))
}
