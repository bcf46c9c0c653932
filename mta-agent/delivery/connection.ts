import type { SmtpReply } from '../domain/smtp-reply.ts'
import type { SmtpTimeouts } from './ports.ts'
import type { WireReply } from './reply-parser.ts'
import type { Route } from './route.ts'
import { type Capabilities, NO_CAPABILITIES, parseCapabilities } from './smtp-commands.ts'
import { Wire, WireFailed } from './wire.ts'

/**
 * Opens a session with one host from one source address: connect, greeting, EHLO, STARTTLS when offered, EHLO again. TLS is
 * opportunistic: any certificate is better than none, and no certificate is a reason not to deliver.
 */

export type Protection = 'clear' | 'unverified' | 'verified'

/** A session in which a transaction may begin. */
export type Connection = {
  readonly wire: Wire
  readonly route: Route
  readonly offered: Capabilities
  readonly protection: Protection
}

/** Why there is no session: what the next step depends on. */
export type OpenFailure = {
  /**
   * SourceAddress: the kernel has not got it. Tls: the handshake failed, clear text may work. Refused: the host said no to the session.
   * Host: it cannot be reached, or says nothing that makes sense.
   */
  readonly cause: 'SourceAddress' | 'Tls' | 'Refused' | 'Host' | 'Stopped'
  /** The server's words, or ours for what happened. */
  readonly reply: SmtpReply
  readonly code: string
}

export type Opened = { readonly kind: 'open'; readonly connection: Connection } | { readonly kind: 'failed'; readonly failure: OpenFailure }

export type OpenOptions = { readonly timeouts: SmtpTimeouts; readonly tls: 'opportunistic' | 'never'; readonly signal: AbortSignal }

/** Expected failures are answers. */
export async function openConnection(route: Route, options: OpenOptions): Promise<Opened> {
  const { timeouts, signal } = options
  const target = { address: route.host.address, port: route.host.port, localAddress: route.source.address }
  let wire: Wire
  try {
    wire = await Wire.open(target, timeouts.connect, signal)
  } catch (error) {
    return failed(error, `cannot connect to ${formatHost(route)}`)
  }
  const stop = (): void => wire.close()
  signal.addEventListener('abort', stop, { once: true })
  try {
    const opened = await greet(wire, route, options)
    if (opened.kind === 'failed') wire.close()
    return opened
  } catch (error) {
    wire.close()
    return failed(error, `no session with ${formatHost(route)}`)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

export const formatHost = ({ host }: Route): string => `${host.name}[${host.address}]:${host.port}`

async function greet(wire: Wire, route: Route, { timeouts, tls }: OpenOptions): Promise<Opened> {
  const greeting = await wire.read(timeouts.greeting)
  if (greeting.code !== 220) return refused(greeting)
  const hello = await sayHello(wire, route, timeouts)
  if (hello.kind === 'refused') return refused(hello.reply)
  if (tls === 'never' || !hello.offered.startTls) return open(wire, route, hello.offered, 'clear')

  wire.send('STARTTLS\r\n')
  // A server that offers TLS and then has none for now (454) still takes mail in clear, which is what it would get without us asking.
  const ready = await wire.read(timeouts.ehlo)
  if (ready.code === 421) return refused(ready)
  if (ready.code !== 220) return open(wire, route, hello.offered, 'clear')
  let protection: Protection
  try {
    protection = await wire.startTls(route.host.name, timeouts.tls)
  } catch (error) {
    const { failure } = failed(error, `no TLS with ${formatHost(route)}`)
    return { kind: 'failed', failure: { ...failure, cause: failure.cause === 'Stopped' ? 'Stopped' : 'Tls' } }
  }
  // RFC 3207 section 4.2: what was offered in clear is forgotten.
  const again = await sayHello(wire, route, timeouts)
  return again.kind === 'refused' ? refused(again.reply) : open(wire, route, again.offered, protection)
}

type Hello = { readonly kind: 'heard'; readonly offered: Capabilities } | { readonly kind: 'refused'; readonly reply: WireReply }

/** EHLO, and HELO for servers of before 1995 that do not know it. */
async function sayHello(wire: Wire, route: Route, timeouts: SmtpTimeouts): Promise<Hello> {
  wire.send(`EHLO ${route.source.hostName}\r\n`)
  const ehlo = await wire.read(timeouts.ehlo)
  if (ehlo.code === 250) return { kind: 'heard', offered: parseCapabilities(ehlo) }
  if (ehlo.code !== 500 && ehlo.code !== 502) return { kind: 'refused', reply: ehlo }
  wire.send(`HELO ${route.source.hostName}\r\n`)
  const helo = await wire.read(timeouts.ehlo)
  return helo.code === 250 ? { kind: 'heard', offered: NO_CAPABILITIES } : { kind: 'refused', reply: helo }
}

const open = (wire: Wire, route: Route, offered: Capabilities, protection: Protection): Opened => ({
  kind: 'open',
  connection: { wire, route, offered, protection },
})

const refused = (reply: WireReply): Opened => ({
  kind: 'failed',
  failure: { cause: 'Refused', code: String(reply.code), reply: withoutLines(reply) },
})

/** The reply as it is kept and shown. */
export const withoutLines = ({ code, enhanced, text }: WireReply): SmtpReply => ({
  code,
  ...(enhanced === undefined ? {} : { enhanced }),
  text,
})

function failed(error: unknown, what: string): { readonly kind: 'failed'; readonly failure: OpenFailure } {
  if (!(error instanceof WireFailed)) throw error
  const text = `${what}: ${error.message}`
  return { kind: 'failed', failure: { cause: causeOf(error), code: error.code, reply: { code: 451, enhanced: '4.4.1', text } } }
}

/** EADDRNOTAVAIL also comes from connect(2) when the ports of the source address are used up: that too speaks of the source address. */
function causeOf(error: WireFailed): OpenFailure['cause'] {
  if (error.code === 'STOPPED') return 'Stopped'
  return error.code === 'EADDRNOTAVAIL' || error.syscall === 'bind' ? 'SourceAddress' : 'Host'
}
