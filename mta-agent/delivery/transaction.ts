import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Recipient } from '../domain/envelope.ts'
import type { SmtpReply } from '../domain/smtp-reply.ts'
import { classifyReply, isPolicyDeferral } from './classify-reply.ts'
import { type Connection, withoutLines } from './connection.ts'
import type { Permission, SmtpTimeouts } from './ports.ts'
import type { WireReply } from './reply-parser.ts'
import { formatMail, formatRcpt, type MailParameters, stuffDots } from './smtp-commands.ts'
import { WireFailed } from './wire.ts'

/**
 * One message, some of its recipients, one connection → an outcome for each recipient the server has answered for. What must never
 * happen: a recipient called delivered without a 2yz after the final dot, or a message sent on after the server may have taken it.
 */

/** Content up to this size leaves together with its final dot. */
const ONE_PACKET = 65_536

export type NumberedRecipient = Recipient & { readonly index: number }

export type TransactionRequest = {
  readonly mail: MailParameters
  readonly recipients: readonly NumberedRecipient[]
  readonly content: Buffer
  readonly permission: Permission
}

export type TransactionEnd = {
  readonly outcomes: ReadonlyMap<number, DeliveryOutcome>
  /**
   * completed: the session may serve again. lost: it may not; recipients without an outcome were not served and may be tried elsewhere.
   * ambiguous: it was lost after the final dot and before its reply, so those deferred here may have the message (RFC 5321 section 6.1).
   */
  readonly end: 'completed' | 'lost' | 'ambiguous'
  /** What ended the session; with lost and ambiguous only. */
  readonly last?: SmtpReply
  readonly lastCode?: string
  /** Whether the server answered MAIL: before that, a reused session that is lost was merely closed while idle. */
  readonly answered: boolean
}

/** Never rejects for what the server does; rejects for an address that cannot be said. */
export async function runTransaction(connection: Connection, request: TransactionRequest, timeouts: SmtpTimeouts): Promise<TransactionEnd> {
  const dialogue = new Dialogue(connection, request, timeouts)
  try {
    await dialogue.run()
    return dialogue.conclude()
  } catch (error) {
    if (!(error instanceof WireFailed || error instanceof SessionOver)) throw error
    connection.wire.close()
    return dialogue.concludeLost(error)
  }
}

/** 421, or a server that is out of step: nothing more can be asked in this session. */
class SessionOver extends Error {
  override readonly name = 'SessionOver'
  readonly reply: SmtpReply
  constructor(reply: SmtpReply) {
    super(reply.text)
    this.reply = reply
  }
}

class Dialogue {
  readonly #connection: Connection
  readonly #request: TransactionRequest
  readonly #timeouts: SmtpTimeouts
  readonly #outcomes = new Map<number, DeliveryOutcome>()
  #accepted: NumberedRecipient[] = []
  #answered = false
  #dotSent = false

  constructor(connection: Connection, request: TransactionRequest, timeouts: SmtpTimeouts) {
    this.#connection = connection
    this.#request = request
    this.#timeouts = timeouts
  }

  async run(): Promise<void> {
    this.#require(this.#request.permission.mayStart())
    const dataReply = this.#connection.offered.pipelining ? await this.#openPipelined() : await this.#openStepwise()
    if (dataReply?.code !== 354) {
      if (dataReply === undefined) return await this.#reset()
      this.#setAccepted(classifyReply(withoutLines(dataReply), 'data'))
      // Content was neither asked for nor refused: this answered an earlier command, and so would all that follows.
      if (dataReply.code < 400) throw new SessionOver(withoutLines(dataReply))
      return await this.#reset()
    }
    // RFC 2920 section 3.1: a server that answers 354 although nobody is to get the message is given an empty one, and its reply ignored.
    if (this.#accepted.length === 0) {
      this.#connection.wire.send('.\r\n')
      this.#heed(await this.#connection.wire.read(this.#timeouts.dot))
      return
    }
    await this.#sendContent()
  }

  conclude(): TransactionEnd {
    return { outcomes: this.#outcomes, end: 'completed', answered: this.#answered }
  }

  concludeLost(error: WireFailed | SessionOver): TransactionEnd {
    const { host } = this.#connection.route
    const last: SmtpReply =
      error instanceof SessionOver
        ? error.reply
        : { code: 451, enhanced: '4.4.2', text: `lost the connection with ${host.name}[${host.address}]: ${error.message}` }
    const lastCode = error instanceof SessionOver ? String(error.reply.code) : error.code
    const ambiguous = this.#dotSent && error instanceof WireFailed
    if (error instanceof SessionOver && isPolicyDeferral(last)) this.#setUnanswered(classifyReply(last, 'mail'))
    if (ambiguous) this.#setAccepted({ kind: 'deferred', reply: last, scope: 'route' })
    return { outcomes: this.#outcomes, end: ambiguous ? 'ambiguous' : 'lost', last, lastCode, answered: this.#answered }
  }

  /** MAIL, every RCPT and DATA leave as one group (RFC 2920 section 3.1). Returns the reply to DATA. */
  async #openPipelined(): Promise<WireReply> {
    const { wire, offered } = this.#connection
    const { mail, recipients } = this.#request
    wire.send([formatMail(mail, offered), ...recipients.map((recipient) => formatRcpt(recipient, offered)), 'DATA\r\n'].join(''))
    const refused = await this.#readMail()
    for (const recipient of recipients) {
      const reply = await this.#read(this.#timeouts.rcpt)
      if (refused === undefined) this.#judgeRcpt(recipient, reply)
    }
    return await this.#read(this.#timeouts.data)
  }

  /** Returns the reply to DATA; undefined when it did not come to that. */
  async #openStepwise(): Promise<WireReply | undefined> {
    const { wire, offered } = this.#connection
    wire.send(formatMail(this.#request.mail, offered))
    if ((await this.#readMail()) !== undefined) return undefined
    for (const recipient of this.#request.recipients) {
      wire.send(formatRcpt(recipient, offered))
      this.#judgeRcpt(recipient, await this.#read(this.#timeouts.rcpt))
    }
    if (this.#accepted.length === 0) return undefined
    wire.send('DATA\r\n')
    return await this.#read(this.#timeouts.data)
  }

  /** The reply if MAIL was refused: it then speaks for every recipient. */
  async #readMail(): Promise<WireReply | undefined> {
    const reply = await this.#connection.wire.read(this.#timeouts.mail)
    this.#heed(reply)
    this.#answered = true
    if (reply.code >= 200 && reply.code < 300) return undefined
    const outcome = classifyReply(withoutLines(reply), 'mail')
    for (const { index } of this.#request.recipients) this.#outcomes.set(index, outcome)
    return reply
  }

  #judgeRcpt(recipient: NumberedRecipient, reply: WireReply): void {
    if (reply.code >= 200 && reply.code < 300) this.#accepted.push(recipient)
    else this.#outcomes.set(recipient.index, classifyReply(withoutLines(reply), 'rcpt'))
  }

  async #sendContent(): Promise<void> {
    const { wire } = this.#connection
    const content = stuffDots(this.#request.content)
    if (content.length <= ONE_PACKET) {
      this.#require(this.#request.permission.mayAct())
      this.#dotSent = true
      wire.send(content, '.\r\n')
    } else {
      if ((await wire.sendContent(content, this.#timeouts.block)) === 'answered') return await this.#heedEarlyReply()
      this.#require(this.#request.permission.mayAct())
      this.#dotSent = true
      wire.send('.\r\n')
    }
    this.#setAccepted(classifyReply(withoutLines(await this.#read(this.#timeouts.dot)), 'dot'))
  }

  /** The server has no dot from us, so whatever it says, it has not taken the message; and the session is out of step. */
  async #heedEarlyReply(): Promise<void> {
    const reply = withoutLines(await this.#connection.wire.read(this.#timeouts.dot))
    const outcome = classifyReply(reply, 'dot')
    if (outcome.kind === 'bounced') this.#setAccepted(outcome)
    throw new SessionOver(reply)
  }

  /** The server may still hold MAIL and RCPT of this transaction, or hold that it does: the next one must not add to them. */
  async #reset(): Promise<void> {
    this.#connection.wire.send('RSET\r\n')
    const reply = await this.#read(this.#timeouts.close)
    if (reply.code !== 250) throw new SessionOver(withoutLines(reply))
  }

  #setAccepted(outcome: DeliveryOutcome): void {
    for (const { index } of this.#accepted) this.#outcomes.set(index, outcome)
  }

  #setUnanswered(outcome: DeliveryOutcome): void {
    for (const { index } of this.#request.recipients) if (!this.#outcomes.has(index)) this.#outcomes.set(index, outcome)
  }

  /** Another may act by now: what was not completed is not this instance's to complete. */
  #require(permitted: boolean): void {
    if (!permitted) throw new WireFailed('STOPPED', 'this instance may not act now')
  }

  async #read(timeoutMillis: number): Promise<WireReply> {
    const reply = await this.#connection.wire.read(timeoutMillis)
    this.#heed(reply)
    return reply
  }

  #heed(reply: WireReply): void {
    if (reply.code === 421) throw new SessionOver(withoutLines(reply))
  }
}
