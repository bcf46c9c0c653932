import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type PeerCertificate, type Server, TLSSocket } from 'node:tls'
import { formatPeerName, parsePeerNames, type PeerScope } from './peer-name.ts'

/**
 * Mutual TLS between the instances of a shard. What must never happen: a byte of the protocol taken from, or given to, one whose certificate
 * is not by the stream's authority, or names no instance of this stream.
 *
 * The files are read again for each connection that is made, and every few seconds for those that are taken: an operator that replaces them
 * needs no restart. Links that are open stay; one whose certificate has expired since is ended, as a lost link.
 */

export type PeerTls = Disposable & {
  /** Resolves when the other side has proved to be this instance. Throws PeerFault, or the signal's reason. */
  connect(to: PeerTarget, timing: { readonly signal: AbortSignal; readonly deadlineMillis: number }): Promise<TLSSocket>
  /** Throws what the port or the files say. */
  listen(options: ListenOptions): Promise<PeerListener>
}

export type PeerTarget = { readonly instance: string; readonly address: string; readonly port: number }

export type ListenOptions = {
  readonly address: string
  /** 0: any free one. */
  readonly port: number
  /** A peer that has proved to be this instance. The socket is the callee's: it listens to `error` before it returns. */
  readonly onPeer: (socket: TLSSocket, instance: string) => void
  /** Somebody was turned away, or the new files cannot be used: those from before stay in force. For the log. */
  readonly onFault: (fault: PeerFault) => void
}

export type PeerListener = AsyncDisposable & { readonly port: number }

/** Why there is no link. The message says what must be and what was. */
export class PeerFault extends Error {
  override readonly name = 'PeerFault'
}

export type PeerTlsOptions = {
  /** tls.crt, tls.key, ca.crt. */
  readonly directory: string
  readonly scope: PeerScope
  /** Wall clock; validity of certificates is decided from it, and nothing else. */
  readonly wall: () => number
  /** Between two looks at the files. */
  readonly lookEveryMillis?: number
}

const LOOK_EVERY_MILLIS = 10_000
/** A peer that says nothing makes room for others. */
const HANDSHAKE_MILLIS = 5_000
/** Peers are two at most; the rest is room for links that are ending and for strangers who are being turned away. */
const MAX_CONNECTIONS = 32
const TCP_PROBE_MILLIS = 5_000
const REQUIRED = { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' } as const

export function openPeerTls(options: PeerTlsOptions): PeerTls {
  return new FilePeerTls(options)
}

class FilePeerTls implements PeerTls {
  readonly #options: PeerTlsOptions
  readonly #expiring = new Map<TLSSocket, number>()
  readonly #sweep: NodeJS.Timeout

  constructor(options: PeerTlsOptions) {
    this.#options = options
    this.#sweep = setInterval(() => this.#endExpired(options.wall()), options.lookEveryMillis ?? LOOK_EVERY_MILLIS)
    this.#sweep.unref()
  }

  async connect(to: PeerTarget, { signal, deadlineMillis }: Parameters<PeerTls['connect']>[1]): Promise<TLSSocket> {
    signal.throwIfAborted()
    const { scope } = this.#options
    const files = await readFiles(this.#options.directory)
    const limit = AbortSignal.any([signal, AbortSignal.timeout(deadlineMillis)])
    let expires = 0
    const socket = connect({
      ...files,
      host: to.address,
      port: to.port,
      servername: formatPeerName(scope, to.instance),
      minVersion: 'TLSv1.3',
      // The only moment at which the other side's certificate can be looked at: Node lets go of it as soon as it has been verified.
      checkServerIdentity: (_, certificate) => {
        expires = Date.parse(certificate.valid_to)
        return mismatch(scope, to.instance, certificate)
      },
    })
    try {
      await until(socket, 'secureConnect', limit)
    } catch (cause) {
      socket.destroy()
      signal.throwIfAborted()
      const text = limit.aborted ? `was not there after ${deadlineMillis} ms` : textOf(cause)
      throw new PeerFault(`${to.instance} must answer at ${to.address} port ${to.port}: ${text}`, { cause })
    }
    socket.setNoDelay(true)
    this.#adopt(socket, Math.min(expires, files.expires))
    return socket
  }

  async listen({ address, port, onPeer, onFault }: ListenOptions): Promise<PeerListener> {
    const { directory, scope, lookEveryMillis = LOOK_EVERY_MILLIS } = this.#options
    let files = await readFiles(directory)
    const server = createServer({ ...files, ...REQUIRED, handshakeTimeout: HANDSHAKE_MILLIS }, (socket) => {
      socket.setNoDelay(true)
      const certificate = socket.getPeerX509Certificate()
      const peer = parsePeerNames(scope, certificate?.subjectAltName)
      if (peer.kind === 'stranger') {
        onFault(new PeerFault(`${placeOf(socket)} must be an instance of ${nameOf(scope)}, was ${peer.names.join(', ') || 'nameless'}`))
        socket.on('error', () => undefined).destroy()
        return
      }
      this.#adopt(socket, Math.min(Date.parse(certificate?.validTo ?? ''), files.expires))
      onPeer(socket, peer.instance)
    })
    server.maxConnections = MAX_CONNECTIONS
    server.on('tlsClientError', (error, socket) => onFault(new PeerFault(`${placeOf(socket)}: ${error.message}`, { cause: error })))
    const sockets = followSockets(server)
    const look = async (): Promise<void> => {
      try {
        const next = await readFiles(directory)
        if (same(files, next)) return
        server.setSecureContext({ ...next, ...REQUIRED })
        files = next
      } catch (error) {
        onFault(
          error instanceof PeerFault ? error : new PeerFault(`new certificate files cannot be used: ${textOf(error)}`, { cause: error }),
        )
      }
    }
    const timer = setInterval(() => void look(), lookEveryMillis)
    timer.unref()
    try {
      server.listen(port, address)
      await until(server, 'listening', undefined)
    } catch (error) {
      clearInterval(timer)
      throw error
    }
    return {
      port: (server.address() as AddressInfo).port,
      [Symbol.asyncDispose]: async () => {
        clearInterval(timer)
        const closed = new Promise<void>((resolve) => server.close(() => resolve()))
        for (const socket of sockets) socket.destroy()
        await closed
      },
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweep)
    for (const socket of this.#expiring.keys()) socket.destroy()
  }

  #adopt(socket: TLSSocket, expires: number): void {
    // A node that is gone says nothing: the kernel finds out, also where nothing is being sent.
    socket.setKeepAlive(true, TCP_PROBE_MILLIS)
    this.#expiring.set(socket, expires)
    socket.once('close', () => this.#expiring.delete(socket))
  }

  #endExpired(wall: number): void {
    for (const [socket, expires] of this.#expiring) {
      if (wall >= expires) socket.destroy(new PeerFault('the certificates of a link must be valid, was expired'))
    }
  }
}

type Files = { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer; readonly expires: number }

async function readFiles(directory: string): Promise<Files> {
  const read = async (name: string): Promise<Buffer> => {
    try {
      return await readFile(join(directory, name))
    } catch (cause) {
      throw new PeerFault(`${join(directory, name)} must be readable: ${textOf(cause)}`, { cause })
    }
  }
  const [cert, key, ca] = await Promise.all([read('tls.crt'), read('tls.key'), read('ca.crt')])
  return { cert, key, ca, expires: Date.parse(new X509Certificate(cert).validTo) }
}

const same = (a: Files, b: Files): boolean => a.cert.equals(b.cert) && a.key.equals(b.key) && a.ca.equals(b.ca)

/** Node has checked the chain by then; this is only the name. */
function mismatch(scope: PeerScope, instance: string, certificate: PeerCertificate): Error | undefined {
  const peer = parsePeerNames(scope, certificate.subjectaltname)
  if (peer.kind === 'named' && peer.instance === instance) return undefined
  return new PeerFault(`its certificate must name ${formatPeerName(scope, instance)}, named ${certificate.subjectaltname ?? 'nobody'}`)
}

/** Also those that are still shaking hands: a listener that is closed must not wait for them. */
function followSockets(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

async function until(emitter: TLSSocket | Server, event: 'secureConnect' | 'listening', signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = (): void => reject(signal?.reason as Error)
  const onClose = (): void => reject(new PeerFault('the connection was closed'))
  emitter.once(event, resolve).once('error', reject).once('close', onClose)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await promise
  } finally {
    emitter.off(event, resolve).off('error', reject).off('close', onClose)
    signal?.removeEventListener('abort', onAbort)
    // What a socket that was given up still says is nothing to anybody.
    emitter.on('error', () => undefined)
  }
}

const placeOf = (socket: Socket): string => `${socket.remoteAddress ?? 'somebody'} port ${socket.remotePort ?? 0}`
const nameOf = ({ stream, namespace }: PeerScope): string => `${namespace}/${stream}`
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
