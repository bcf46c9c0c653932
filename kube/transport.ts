import { Agent, type Dispatcher } from 'undici'
import type { Access, ApiServer, Tls } from './config.ts'
import { classifyBreak, classifyStatus, KubeError, type Status } from './errors.ts'

/**
 * HTTP to the API server over few, long-lived connections. Calls share a small pool; each watch has a connection of its own, so that
 * watches never starve calls. When certificates are rotated new connections are made with the new ones. HTTP/1.1 on purpose: with HTTP/2 one stalled
 * connection would stall every watch and every call.
 */

export type Request = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path and query. */
  readonly path: string
  readonly accept: string
  readonly body?: { readonly type: string; readonly text: string }
}

export type Timing = {
  readonly signal: AbortSignal
  /** The whole call, connecting included, fails as unavailable (timeout) after so long. */
  readonly deadlineMillis: number
}

/** One call as it went, for metrics. `code` is the HTTP status, or the word for why there was none. */
export type CallReport = { readonly method: Request['method']; readonly path: string; readonly code: string; readonly millis: number }

export type Transport = AsyncDisposable & {
  /** The body of a 2xx answer. Throws KubeError, or the signal's reason. */
  exchange(request: Request, timing: Timing): Promise<string>
  /**
   * The body of a 2xx answer, piece by piece. The deadline covers the time until the headers have come; from then on every gap between pieces
   * is bounded by `silenceMillis`.
   */
  stream(request: Request, timing: Timing & { readonly silenceMillis: number }): AsyncGenerator<string, void, void>
}

const CALL_CONNECTIONS = 8
/** Less than the 90 s after which the API server closes an idle connection, so that we close it first. */
const KEEP_IDLE_MILLIS = 60_000
const TCP_PROBE_MILLIS = 15_000
/** A connection that is not made by then, TLS included, makes room for another try. */
const CONNECT_MILLIS = 5000

type Pools = { readonly tls: Tls; readonly calls: Agent; readonly watches: Agent }
type Answer = Dispatcher.ResponseData

export function openTransport(server: ApiServer, onCall: (report: CallReport) => void = () => {}): Transport {
  return new PooledTransport(server, onCall)
}

class PooledTransport implements Transport {
  readonly #server: ApiServer
  readonly #onCall: (report: CallReport) => void
  #pools: Pools | undefined
  readonly #retired = new Set<Promise<void>>()

  constructor(server: ApiServer, onCall: (report: CallReport) => void) {
    this.#server = server
    this.#onCall = onCall
  }

  async exchange(request: Request, timing: Timing): Promise<string> {
    using limit = startLimit(timing)
    return await this.#reported(request, limit, async () => {
      const answer = await this.#request(request, limit.signal, 'calls')
      return await orAbort(answer.body.text(), limit.signal)
    })
  }

  async *stream(request: Request, timing: Timing & { readonly silenceMillis: number }): AsyncGenerator<string, void, void> {
    using limit = startLimit(timing)
    const answer = await this.#reported(request, limit, () => this.#request(request, limit.signal, 'watches', timing.silenceMillis))
    limit.lift()
    try {
      const decoder = new TextDecoder()
      for await (const piece of answer.body as AsyncIterable<Uint8Array>) yield decoder.decode(piece, { stream: true })
    } catch (error) {
      throw limit.explain(error)
    } finally {
      answer.body.destroy()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pools = this.#pools
    this.#pools = undefined
    if (pools !== undefined) await Promise.all([pools.calls.destroy(), pools.watches.destroy()])
    await Promise.all(this.#retired)
  }

  /** A 2xx answer, its body unread. A 401 is tried once more if the credentials on disk have changed since. */
  async #request(request: Request, signal: AbortSignal, pool: 'calls' | 'watches', silenceMillis = 0): Promise<Answer> {
    const access = await credentials(this.#server.read())
    const answer = await this.#send(access, request, { signal, pool, silenceMillis })
    if (answer.statusCode === 401) {
      const now = await credentials(this.#server.reread())
      if (now.token !== access.token || !sameTls(now.tls, access.tls)) {
        await answer.body.dump()
        return accepted(await this.#send(now, request, { signal, pool, silenceMillis }))
      }
    }
    return accepted(answer)
  }

  async #send(
    access: Access,
    request: Request,
    how: { readonly signal: AbortSignal; readonly pool: 'calls' | 'watches'; readonly silenceMillis: number },
  ): Promise<Answer> {
    const { origin, pathname } = new URL(access.url)
    const answer = this.#poolsFor(access.tls)[how.pool].request({
      origin,
      path: `${pathname === '/' ? '' : pathname}${request.path}`,
      method: request.method,
      headers: {
        accept: request.accept,
        'user-agent': 'mtafleet',
        ...(access.token === undefined ? {} : { authorization: `Bearer ${access.token}` }),
        ...(request.body === undefined ? {} : { 'content-type': request.body.type }),
      },
      body: request.body?.text ?? null,
      signal: how.signal,
      // The limit of the whole call stands above both; for a stream only its silence counts once it has begun.
      headersTimeout: 0,
      bodyTimeout: how.silenceMillis,
    })
    return orAbort(answer, how.signal, (late) => late.body.destroy())
  }

  #poolsFor(tls: Tls): Pools {
    if (this.#pools !== undefined && sameTls(this.#pools.tls, tls)) return this.#pools
    if (this.#pools !== undefined) this.#retire(this.#pools)
    this.#pools = { tls, calls: openAgent(tls, CALL_CONNECTIONS), watches: openAgent(tls, undefined) }
    return this.#pools
  }

  /** Calls under way may finish on the old connections; watches end at the server's timeout. */
  #retire(pools: Pools): void {
    for (const agent of [pools.calls, pools.watches]) {
      const closed = agent.close().finally(() => this.#retired.delete(closed))
      this.#retired.add(closed)
    }
  }

  async #reported<T>(request: Request, limit: Limit, run: () => Promise<T>): Promise<T> {
    const started = performance.now()
    const report = (code: string) => this.#onCall({ method: request.method, path: request.path, code, millis: performance.now() - started })
    try {
      const result = await run()
      report('2xx')
      return result
    } catch (cause) {
      const error = limit.explain(cause)
      report(error instanceof KubeError ? error.kind : 'aborted')
      throw error
    }
  }
}

function openAgent(tls: Tls, connections: number | undefined): Agent {
  return new Agent({
    ...(connections === undefined ? {} : { connections }),
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_IDLE_MILLIS,
    keepAliveMaxTimeout: KEEP_IDLE_MILLIS,
    connect: {
      timeout: CONNECT_MILLIS,
      keepAlive: true,
      keepAliveInitialDelay: TCP_PROBE_MILLIS,
      rejectUnauthorized: tls.verify === 'Full',
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.cert === undefined || tls.key === undefined ? {} : { cert: tls.cert, key: tls.key }),
      ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    },
  })
}

async function credentials(read: Promise<Access>): Promise<Access> {
  try {
    return await read
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause)
    throw new KubeError({ kind: 'unavailable', reason: 'credentials' }, `the credentials could not be read: ${text}`, { cause })
  }
}

const sameTls = (a: Tls, b: Tls): boolean =>
  a === b || (a.ca === b.ca && a.cert === b.cert && a.key === b.key && a.serverName === b.serverName && a.verify === b.verify)

/**
 * The client library looks at the signal only once the request has a connection: behind a server that accepts and then says nothing, that may be never. So the
 * wait is ended here; what still comes afterwards is thrown away.
 */
async function orAbort<T>(work: Promise<T>, signal: AbortSignal, discard: (late: T) => void = () => {}): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    return await Promise.race([work, aborted.promise])
  } catch (error) {
    if (signal.aborted) work.then(discard, () => {})
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function accepted(answer: Answer): Promise<Answer> {
  if (answer.statusCode >= 200 && answer.statusCode < 300) return answer
  const text = await answer.body.text()
  const status = parseStatus(text)
  const header = answer.headers['retry-after']
  const failure = classifyStatus(answer.statusCode, status, typeof header === 'string' ? header : undefined)
  throw new KubeError(failure, status.message ?? `the API server answered ${answer.statusCode}: ${text.slice(0, 500)}`)
}

function parseStatus(text: string): Status {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null && 'kind' in parsed && parsed.kind === 'Status' ? (parsed as Status) : {}
  } catch {
    // Not JSON: a proxy or a health endpoint answered in plain text, which the caller shows as it is.
    return {}
  }
}

type Limit = Disposable & {
  readonly signal: AbortSignal
  /** From here on only the caller's signal counts. */
  lift(): void
  /** What to throw for an error under this limit. */
  explain(error: unknown): unknown
}

function startLimit({ signal, deadlineMillis }: Timing): Limit {
  signal.throwIfAborted()
  const control = new AbortController()
  const onAbort = () => control.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const late = new KubeError({ kind: 'unavailable', reason: 'timeout' }, `the API server did not answer within ${deadlineMillis} ms`)
  const timer = setTimeout(() => control.abort(late), deadlineMillis)
  return {
    signal: control.signal,
    lift: () => clearTimeout(timer),
    explain: (error) => {
      if (signal.aborted) return signal.reason
      if (control.signal.aborted) return late
      return error instanceof KubeError ? error : explainBreak(error)
    },
    [Symbol.dispose]: () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    },
  }
}

function explainBreak(error: unknown): unknown {
  const reason = classifyBreak(error)
  if (reason === undefined) return error
  const text = error instanceof Error ? error.message : String(error)
  return new KubeError({ kind: 'unavailable', reason }, `the API server could not be reached (${reason}): ${text}`, { cause: error })
}
