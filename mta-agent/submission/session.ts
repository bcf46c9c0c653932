import type net from 'node:net'
import type tls from 'node:tls'
import { SMTPServer, type SMTPServerDataStream, type SMTPServerOptions } from 'smtp-server'
import { SMTPConnection, type SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js'
import type { Recipient } from '../domain/envelope.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'
import { judgeData, judgeMail, type AdmitFacts } from './admit.ts'
import { parseMail, parseRcpt, type MailCommand } from './parse-command.ts'

/**
 * One SMTP session: smtp-server's connection with the commands that decide about mail taken over, because of what facts it gets wrong:
 * it shows AUTH before TLS and allows it in the clear when there is no certificate, merges recipients that differ in case, takes unknown
 * parameters, has no answer before DATA, and its enhanced codes cannot be chosen. What it does well stays its own: the parser, the end of
 * DATA, STARTTLS, SASL, pipelining. It waits 100 ms before its greeting, for early talkers: clients should reuse connections.
 */

export type Transaction = { readonly mail: MailCommand; readonly recipients: readonly Recipient[] }

/** What a session asks of the listener it belongs to. Everything is asked anew each time: settings change while sessions last. */
export type Site = {
  readonly hostName: () => string
  readonly maxMessageBytes: () => number
  readonly maxRecipients: () => number
  readonly mayRelayFrom: (address: string) => boolean
  /** Everything that admission looks at, but for what the session knows itself. */
  readonly admission: () => Omit<AdmitFacts, 'mayRelay' | 'declaredBytes'>
  readonly hasCertificate: () => boolean
  readonly hasUsers: () => boolean
  readonly refused: (session: SubmissionSession, reply: SmtpReply, at: 'MAIL' | 'RCPT' | 'DATA') => void
  readonly receive: (session: SubmissionSession, transaction: Transaction, stream: SMTPServerDataStream) => Promise<SmtpReply>
}

type Done = () => void
/** What the reply's own enhanced code looks like at the start of a text. */
const ENHANCED = /^[245]\.\d{1,3}\.\d{1,3} /
/** Commands that a session may spend without handing in a message: a client that only chats holds a place that others need. */
const MAX_IDLE_COMMANDS = 100
const MAX_AUTH_FAILURES = 3

export class SubmissionSession extends SMTPConnection {
  readonly #site: Site
  #mail: MailCommand | undefined
  /** By address, in the order given. Case matters in local parts (RFC 5321 section 2.4); an exact repetition replaces. */
  #recipients = new Map<string, Recipient>()
  #receiving = false
  #stopping = false
  #idleCommands = 0
  #authFailures = 0

  constructor(server: SMTPServer, socket: net.Socket | tls.TLSSocket, options: SMTPConnectionOptions | null | undefined, site: Site) {
    super(server, socket, options)
    this.#site = site
  }

  /** Names the transaction in log lines and in our Received line. */
  get transactionId(): string {
    return `${this.id}.${this._transactionCounter + 1}`
  }

  get user(): string | undefined {
    return typeof this.session.user === 'string' ? this.session.user : undefined
  }

  /** Ends the session as soon as no transaction is open: now, or after its reply. */
  stop(): void {
    this.#stopping = true
    if (this.#mail === undefined && !this.#receiving) this.send(421, '4.3.2 this instance is stopping; try again')
  }

  /** Ends it whatever is open. A client without a reply to its DATA keeps the message. */
  abort(text = 'this instance is stopping; try again'): void {
    this.send(421, `4.3.2 ${text}`)
    this._socket.destroySoon()
  }

  noteAuthFailure(): void {
    this.#authFailures++
  }

  /** A text that begins with an enhanced code is sent as it is; smtp-server would put the usual code of the class before it. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    super.send(code, data, typeof data === 'string' && ENHANCED.test(data) ? false : context)
    if (code === 535 && this.#authFailures >= MAX_AUTH_FAILURES) this.send(421, '4.7.0 too many failed authentications')
  }

  override _isSupported(command: string): boolean {
    switch (command.trim().toUpperCase()) {
      case 'STARTTLS':
        return this.#site.hasCertificate()
      // Always known, so that the answer to it without TLS is the right one; shown in EHLO only where it works.
      case 'AUTH':
        return true
      default:
        return super._isSupported(command)
    }
  }

  override _onCommand(command: Buffer, callback?: Done): void {
    const speaks = this._ready && !this._upgrading && this._nextHandler === false
    if (speaks && command.some(isControl)) {
      this.send(500, '5.5.2 control characters in a command')
      if (callback) setImmediate(callback)
      return
    }
    const name = command.subarray(0, 12).toString('latin1').split(' ')[0]?.toUpperCase() ?? ''
    if (speaks && !this.#isFree(name) && ++this.#idleCommands > MAX_IDLE_COMMANDS) {
      return this.send(421, `4.7.0 more than ${MAX_IDLE_COMMANDS} commands without a message`)
    }
    super._onCommand(command, callback)
  }

  /** What a transaction needs, however many recipients it has, while there is one. */
  #isFree(name: string): boolean {
    if (name === 'RCPT') return this.#mail !== undefined
    return name === 'DATA' ? this.#recipients.size > 0 : name === 'QUIT'
  }

  override _resetSession(): void {
    super._resetSession()
    const wasOpen = this.#mail !== undefined || this.#receiving
    this.#mail = undefined
    this.#recipients = new Map()
    this.#receiving = false
    // The reply has been written before the reset; 421 follows it.
    if (this.#stopping && wasOpen) this.send(421, '4.3.2 this instance is stopping; try again')
  }

  /** Called for every way in which a connection can end; STARTTLS takes other listeners off the socket. */
  override _onClose(): void {
    super._onClose()
    this.emit('ended')
  }

  override handler_EHLO(command: Buffer, callback: Done): void {
    const lines = ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES', 'DSN', `SIZE ${this.#site.maxMessageBytes()}`]
    if (!this.secure && this.#site.hasCertificate()) lines.push('STARTTLS')
    if (this.secure && this.#site.hasUsers() && this.user === undefined) lines.push('AUTH PLAIN LOGIN')
    this.#greet(command, [this.#site.hostName(), ...lines], callback)
  }

  override handler_HELO(command: Buffer, callback: Done): void {
    this.#greet(command, [this.#site.hostName()], callback)
  }

  #greet(command: Buffer, reply: string[], callback: Done): void {
    const [, name, ...more] = command.toString('utf8').trim().split(/\s+/)
    if (name === undefined || more.length > 0 || name.length > 255) {
      this.send(501, '5.5.4 must be EHLO or HELO and one host name')
      return callback()
    }
    this.hostNameAppearsAs = name
    this._resetSession()
    this.send(250, reply, false)
    callback()
  }

  override handler_AUTH(command: Buffer, callback: Done): void {
    const reply = this.#faultOfAuth()
    if (reply === undefined) return super.handler_AUTH(command, callback)
    this.send(...reply)
    callback()
  }

  #faultOfAuth(): [number, string] | undefined {
    if (!this.secure) return [538, '5.7.11 encryption required: STARTTLS first']
    if (!this.#site.hasUsers()) return [502, '5.5.1 this instance has no users']
    // RFC 4954 section 4: not during a transaction, not twice.
    if (this.#mail !== undefined || this.user !== undefined) return [503, '5.5.1 AUTH is not permitted now']
    return undefined
  }

  override handler_MAIL(command: Buffer, callback: Done): void {
    this.emitConnection()
    this.#answer('MAIL', this.#beginTransaction(command), callback)
  }

  #beginTransaction(command: Buffer): SmtpReply {
    if (this.#mail !== undefined) return { code: 503, enhanced: '5.5.1', text: 'nested MAIL' }
    // Who may not relay hears 530 whatever else is wrong with the command.
    const early = judgeMail(this.#admission(undefined))
    if (early !== 'admitted' && early.refused.code !== 452) return early.refused
    const parsed = parseMail(command)
    if (parsed.kind === 'refused') return parsed.reply
    const verdict = judgeMail(this.#admission(parsed.value.sizeBytes))
    if (verdict !== 'admitted') return verdict.refused
    this.#mail = parsed.value
    // smtp-server looks at these two before DATA, and at nothing else of its envelope.
    this.session.envelope.mailFrom = { address: parsed.value.sender, args: false }
    return { code: 250, enhanced: '2.1.0', text: 'sender ok' }
  }

  override handler_RCPT(command: Buffer, callback: Done): void {
    this.#answer('RCPT', this.#addRecipient(command), callback)
  }

  #addRecipient(command: Buffer): SmtpReply {
    if (this.#mail === undefined) return { code: 503, enhanced: '5.5.1', text: 'MAIL first' }
    const parsed = parseRcpt(command, this.#mail.smtpUtf8)
    if (parsed.kind === 'refused') return parsed.reply
    const most = this.#site.maxRecipients()
    if (this.#recipients.size >= most && !this.#recipients.has(parsed.value.address)) {
      return { code: 452, enhanced: '4.5.3', text: `a message must have at most ${most} recipients; send to the others separately` }
    }
    this.#recipients.set(parsed.value.address, parsed.value)
    this.session.envelope.rcptTo = [{ address: parsed.value.address, args: false }]
    return { code: 250, enhanced: '2.1.5', text: 'recipient ok' }
  }

  override handler_DATA(command: Buffer, callback: Done): void {
    const verdict = this.#mail === undefined ? 'admitted' : judgeData(this.#admission(this.#mail.sizeBytes))
    if (verdict !== 'admitted' && this.#recipients.size > 0) return this.#answer('DATA', verdict.refused, callback)
    if (/\s\S/.test(command.toString('latin1')))
      return this.#answer('DATA', { code: 501, enhanced: '5.5.4', text: 'DATA has no parameters' }, callback)
    super.handler_DATA(command, callback)
  }

  /** Called by the server when smtp-server has opened the stream of this session. */
  async receive(stream: SMTPServerDataStream): Promise<SmtpReply> {
    if (this.#mail === undefined) throw new Error('DATA without a transaction')
    this.#receiving = true
    this.#idleCommands = 0
    const reply = await this.#site.receive(this, { mail: this.#mail, recipients: [...this.#recipients.values()] }, stream)
    if (reply.code >= 400) this.#site.refused(this, reply, 'DATA')
    return reply
  }

  #admission(declaredBytes: number | undefined): AdmitFacts {
    const mayRelay = this.user !== undefined || this.#site.mayRelayFrom(this.remoteAddress)
    const facts = this.#site.admission()
    return { ...facts, stopping: facts.stopping || this.#stopping, mayRelay, declaredBytes }
  }

  #answer(at: 'MAIL' | 'RCPT' | 'DATA', reply: SmtpReply, callback: Done): void {
    if (reply.code >= 400) this.#site.refused(this, reply, at)
    this.send(reply.code, textOf(reply))
    callback()
  }
}

const isControl = (byte: number): boolean => (byte < 32 && byte !== 9) || byte === 127

/** The text of a reply with its enhanced code in front. */
export const textOf = (reply: SmtpReply): string => (reply.enhanced === undefined ? reply.text : `${reply.enhanced} ${reply.text}`)

/** smtp-server with our sessions in it. */
export class SubmissionServer extends SMTPServer {
  readonly #site: Site
  readonly sessions = new Set<SubmissionSession>()
  /** smtp-server hands onData its session object, not the connection. */
  readonly #bySession = new WeakMap<object, SubmissionSession>()

  constructor(options: SMTPServerOptions, site: Site) {
    super(options)
    this.#site = site
  }

  override connect(socket: net.Socket | tls.TLSSocket, socketOptions?: SMTPConnectionOptions | null): void {
    const session = new SubmissionSession(this, socket, socketOptions, this.#site)
    this.connections.add(session)
    this.sessions.add(session)
    this.#bySession.set(session.session, session)
    session.once('ended', () => {
      this.sessions.delete(session)
      this.emit('sessionEnd')
    })
    session.on('error', (error: Error) => this._onError(error))
    session.on('connect', (info) => this._onClientConnect(info))
    session.init()
  }

  knows(session: object): boolean {
    return this.#bySession.has(session)
  }

  sessionOf(session: object): SubmissionSession {
    const found = this.#bySession.get(session)
    if (found === undefined) throw new Error('unknown session')
    return found
  }
}
