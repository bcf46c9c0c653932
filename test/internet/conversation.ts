import type { Socket } from 'node:net'
import { TLSSocket, type SecureContext } from 'node:tls'
import type { Arrival, Beginning } from './arrival.ts'
import { ContentReader, readContent } from './content.ts'
import { type Effect, type Event, openSession, type Client, type Rules, type Session, step, type Stop } from './dialogue.ts'

/**
 * One connection of a provider: bytes in, events to the dialogue, effects out. What the dialogue does not want said is never said; a
 * connection that hangs stays open until its client or the provider goes.
 */
export type Surroundings = {
  readonly client: Client
  readonly now: () => number
  /** Asked anew for every event, so that a changed behaviour holds at once. */
  readonly rules: () => Rules
  readonly secureContext: () => SecureContext
  record(arrival: Arrival, content: Buffer): void
  begin(beginning: Beginning): void
  /** Called once, when the connection is gone. */
  ended(): void
}

const LONGEST_LINE = 4096
/** While a reply waits, so much may pile up before the client is no longer read from. */
const MOST_PENDING = 1_048_576
const CLOSING_GRACE_MILLIS = 2000
const EMPTY = Buffer.alloc(0)

type Reading = { readonly reader: ContentReader; readonly stop: Stop | undefined }

export class Conversation {
  readonly #raw: Socket
  readonly #surroundings: Surroundings
  #stream: Socket
  #session: Session
  #pending: Buffer = EMPTY
  #content: Buffer = EMPTY
  #reading: Reading | undefined
  #state: 'reading' | 'waiting' | 'hanging' | 'over' = 'reading'
  #timer: NodeJS.Timeout | undefined

  constructor(socket: Socket, surroundings: Surroundings) {
    this.#raw = socket
    this.#stream = socket
    this.#surroundings = surroundings
    this.#session = openSession(surroundings.client)
    socket.setNoDelay(true)
    socket.once('close', () => {
      clearTimeout(this.#timer)
      this.#state = 'over'
      surroundings.ended()
    })
    this.#listen(socket)
  }

  start(): void {
    this.#feed({ kind: 'connected', at: this.#surroundings.now() })
    this.#pump()
  }

  /** Says one last line, whatever the dialogue would have said. */
  dismiss(reply: string): void {
    this.#run([
      { kind: 'write', text: `${reply.split('\n').join('\r\n')}\r\n` },
      { kind: 'close', how: 'fin' },
    ])
  }

  destroy(): void {
    this.#stream.destroy()
    this.#raw.destroy()
  }

  #listen(stream: Socket): void {
    stream.on('data', (chunk: Buffer) => this.#receive(chunk))
    // A client that resets, or speaks no TLS, is an everyday event for a server: the close event that follows does what is to be done.
    stream.on('error', () => stream.destroy())
    stream.on('timeout', () => this.#idle())
    stream.setTimeout(this.#surroundings.rules().behaviour.idleSeconds * 1000)
  }

  #receive(chunk: Buffer): void {
    if (this.#state === 'hanging' || this.#state === 'over') return
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    this.#pump()
    if (this.#state === 'waiting' && this.#pending.length > MOST_PENDING) this.#stream.pause()
  }

  #idle(): void {
    if (this.#state !== 'reading') return
    this.#feed({ kind: 'idle', at: this.#surroundings.now() })
  }

  /** Reads what is there, as far as the dialogue wants it now; all replies to one batch leave in one segment. */
  #pump(): void {
    const stream = this.#stream
    stream.cork()
    while (this.#state === 'reading' && this.#pending.length > 0) {
      const goesOn = this.#reading === undefined ? this.#readLine() : this.#readContent(this.#reading)
      if (!goesOn) break
    }
    stream.uncork()
  }

  #readLine(): boolean {
    const end = this.#pending.indexOf(0x0a)
    if (end < 0 && this.#pending.length <= LONGEST_LINE) return false
    if (end < 0 || end > LONGEST_LINE) {
      this.#pending = end < 0 ? EMPTY : this.#pending.subarray(end + 1)
      this.#feed({ kind: 'lineTooLong', at: this.#surroundings.now() })
      return true
    }
    const line = this.#pending.toString('utf8', 0, this.#pending[end - 1] === 0x0d ? end - 1 : end)
    this.#pending = this.#pending.subarray(end + 1)
    this.#feed({ kind: 'line', line, at: this.#surroundings.now() })
    return true
  }

  #readContent({ reader, stop }: Reading): boolean {
    const chunk = this.#pending
    this.#pending = EMPTY
    const rest = reader.push(chunk)
    if (stop !== undefined && (reader.received >= stop.afterBytes || rest !== undefined)) {
      // Not read from any more: the client's window fills up, as with a host that has stopped.
      if (stop.how === 'hang') this.#stream.pause()
      this.#run([stop.how === 'hang' ? { kind: 'hang' } : { kind: 'close', how: stop.how }])
      return false
    }
    if (rest === undefined) return false
    this.#reading = undefined
    this.#pending = rest
    const whole = reader.finish()
    this.#content = whole === 'tooBig' ? EMPTY : whole
    this.#feed({ kind: 'content', content: whole === 'tooBig' ? whole : readContent(whole), at: this.#surroundings.now() })
    return true
  }

  #feed(event: Event): void {
    const { session, effects } = step(this.#surroundings.rules(), this.#session, event)
    this.#session = session
    this.#run(effects)
  }

  #run(effects: readonly Effect[]): void {
    for (const [index, effect] of effects.entries()) {
      if (this.#state === 'over') return
      if (effect.kind === 'wait') {
        this.#waitThen(effect.millis, effects.slice(index + 1))
        return
      }
      this.#perform(effect)
    }
  }

  #waitThen(millis: number, rest: readonly Effect[]): void {
    this.#state = 'waiting'
    this.#timer = setTimeout(() => {
      if (this.#state !== 'waiting') return
      this.#state = 'reading'
      this.#run(rest)
      this.#stream.resume()
      this.#pump()
    }, millis)
  }

  #perform(effect: Exclude<Effect, { kind: 'wait' }>): void {
    switch (effect.kind) {
      case 'write':
        this.#write(effect.text, effect.arrival)
        return
      case 'record':
        this.#surroundings.record(effect.arrival, this.#content)
        return
      case 'begin':
        this.#surroundings.begin(effect.beginning)
        return
      case 'hang':
        this.#state = 'hanging'
        this.#pending = EMPTY
        this.#stream.setTimeout(0)
        return
      case 'close':
        this.#close(effect.how)
        return
      case 'readContent':
        this.#reading = { reader: new ContentReader(effect.limit), stop: effect.stop }
        if (effect.stop?.afterBytes === 0) this.#readContent(this.#reading)
        return
      case 'startTls':
        this.#startTls()
    }
  }

  #write(text: string, arrival: Arrival | undefined): void {
    if (arrival === undefined) {
      this.#stream.write(text)
      return
    }
    const content = this.#content
    this.#stream.write(text, (error) => {
      const failed: Arrival = { ...arrival, outcome: 'closedAfterDot', reply: '' }
      this.#surroundings.record(error ? failed : arrival, content)
    })
  }

  #close(how: 'fin' | 'reset'): void {
    this.#state = 'over'
    this.#pending = EMPTY
    if (how === 'reset') {
      this.#stream.write('', () => this.#raw.resetAndDestroy())
      return
    }
    this.#stream.end()
    this.#stream.resume()
    this.#timer = setTimeout(() => this.destroy(), CLOSING_GRACE_MILLIS)
  }

  /** What the client sent in clear behind STARTTLS is dropped: it was not said under TLS (RFC 3207 section 6). */
  #startTls(): void {
    const raw = this.#raw
    this.#pending = EMPTY
    raw.removeAllListeners('data')
    raw.removeAllListeners('timeout')
    raw.setTimeout(0)
    while (raw.writableCorked > 0) raw.uncork()
    const secured = new TLSSocket(raw, { isServer: true, secureContext: this.#surroundings.secureContext() })
    this.#stream = secured
    this.#listen(secured)
    secured.once('secure', () => {
      const tls = { version: secured.getProtocol() ?? 'unknown', cipher: secured.getCipher().name }
      this.#feed({ kind: 'secured', tls, at: this.#surroundings.now() })
    })
  }
}
