import { Readable } from 'node:stream'
import SMTPConnection, { type SMTPConnectionOptions, type SMTPConnectionSendInfo } from 'nodemailer/lib/smtp-connection'
import type { LoadMessage } from './load-message.ts'

/**
 * One submission connection, as a mail program has it: connect, STARTTLS or TLS, AUTH, messages one after the other. An attempt whose final
 * reply was not read after the whole message had been handed over is `ambiguous`: the server may have it or not (RFC 5321 section 4.5.5).
 */
export type SubmissionServer = {
  readonly host: string
  readonly port: number
  readonly tls: 'starttls' | 'implicit' | 'none'
  /** PEM of what to trust besides nothing; without it the certificate is checked against the system's. */
  readonly ca?: string
  /** The name that the certificate must have; `host` when absent. */
  readonly servername?: string
  readonly user?: string
  readonly password?: string
  readonly localAddress?: string
  /** Said in EHLO. */
  readonly helloName?: string
  /** How long to wait for any single reply, 60 s when absent. */
  readonly timeoutMillis?: number
}

export type AttemptResult =
  | {
      readonly kind: 'accepted'
      readonly reply: string
      readonly recipients: readonly string[]
      readonly refused: readonly Refusal[]
      readonly deferred: readonly string[]
    }
  /** 4yz, or no reply before the message was handed over whole: surely not taken. */
  | { readonly kind: 'deferred'; readonly reply: string }
  | { readonly kind: 'refused'; readonly reply: string }
  | { readonly kind: 'ambiguous'; readonly reply: string }
export type Refusal = { readonly recipient: string; readonly reply: string }

export type SubmissionClient = AsyncDisposable & {
  /** Never rejects; after anything but `accepted` the connection is closed. */
  attempt(message: LoadMessage, recipients: readonly string[], signal: AbortSignal): Promise<AttemptResult>
  readonly usable: boolean
}

/** Rejects with the reason when the server cannot be reached, its certificate is not good, or AUTH fails. */
export async function openSubmission(server: SubmissionServer, signal: AbortSignal): Promise<SubmissionClient> {
  signal.throwIfAborted()
  const connection = new SMTPConnection(optionsFor(server))
  const ended = Promise.withResolvers<never>()
  ended.promise.catch(() => undefined) // looked at by whoever waits at that moment; nobody may be
  const give = (reason: unknown): void => ended.reject(reason instanceof Error ? reason : new Error(String(reason)))
  connection.on('error', give)
  connection.on('end', () => give(new Error('connection closed')))
  const abort = (): void => {
    give(signal.reason)
    connection.close()
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([called((done) => connection.connect(done)), ended.promise])
    if (server.user !== undefined) {
      const credentials = { user: server.user, pass: server.password ?? '' }
      await Promise.race([called((done) => connection.login(credentials, (error) => done(error))), ended.promise])
    }
  } catch (error) {
    connection.close()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
  return new OpenSubmission(connection, ended.promise)
}

class OpenSubmission implements SubmissionClient {
  readonly #connection: SMTPConnection
  readonly #ended: Promise<never>
  usable = true

  constructor(connection: SMTPConnection, ended: Promise<never>) {
    this.#connection = connection
    this.#ended = ended
    ended.catch(() => {
      this.usable = false
    })
  }

  async attempt(message: LoadMessage, recipients: readonly string[], signal: AbortSignal): Promise<AttemptResult> {
    const source = Readable.from([message.content])
    const aborted = Promise.withResolvers<never>()
    const abort = (): void => aborted.reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    try {
      signal.throwIfAborted()
      const sent = called<SMTPConnectionSendInfo>((done) =>
        this.#connection.send({ from: message.sender, to: [...recipients], size: message.content.length }, source, done),
      )
      return acceptedAs(await Promise.race([sent, this.#ended, aborted.promise]))
    } catch (error) {
      this.#close()
      return failedAs(error, source.readableEnded)
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.usable) return
    this.usable = false
    this.#connection.quit()
    await this.#ended.catch(() => undefined)
  }

  #close(): void {
    this.usable = false
    this.#connection.close()
  }
}

function optionsFor(server: SubmissionServer): SMTPConnectionOptions {
  const timeout = server.timeoutMillis ?? 60_000
  return {
    host: server.host,
    port: server.port,
    secure: server.tls === 'implicit',
    requireTLS: server.tls === 'starttls',
    ignoreTLS: server.tls === 'none',
    servername: server.servername,
    localAddress: server.localAddress,
    name: server.helloName ?? 'client.example',
    tls: server.ca === undefined ? undefined : { ca: server.ca },
    connectionTimeout: timeout,
    greetingTimeout: timeout,
    socketTimeout: timeout,
    allowInternalNetworkInterfaces: true,
  }
}

type Done<T> = (error?: Error | null, value?: T) => void

async function called<T = void>(call: (done: Done<T>) => void): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  // A later end of the connection rejects the race, not this: nobody else looks at it then.
  promise.catch(() => undefined)
  call((error, value) => (error ? reject(error) : resolve(value as T)))
  return await promise
}

type ReplyError = Error & {
  readonly responseCode?: number | undefined
  readonly response?: string | undefined
  readonly recipient?: string | undefined
}

function acceptedAs(info: SMTPConnectionSendInfo): AttemptResult {
  const errors: readonly ReplyError[] = info.rejectedErrors ?? []
  const [refused, deferred] = [
    errors.filter(({ responseCode = 0 }) => responseCode >= 500),
    errors.filter(({ responseCode = 0 }) => responseCode < 500),
  ]
  return {
    kind: 'accepted',
    reply: info.response,
    recipients: info.accepted,
    refused: refused.map(({ recipient = '', response = '' }) => ({ recipient, reply: response })),
    deferred: deferred.map(({ recipient = '' }) => recipient),
  }
}

/** A reply settles it. Without one, it depends on whether the final dot can have gone out. */
function failedAs(error: unknown, handedOver: boolean): AttemptResult {
  const { responseCode, response, message } = error as ReplyError
  const reply = response ?? message
  if (responseCode !== undefined && responseCode >= 400) return { kind: responseCode >= 500 ? 'refused' : 'deferred', reply }
  return { kind: handedOver ? 'ambiguous' : 'deferred', reply }
}
