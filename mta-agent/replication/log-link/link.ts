import type { Duplex } from 'node:stream'
import { drained, LinkFault, readFrames, writeFrame } from './frames.ts'
import { decodeMessage, encodeMessage, type Message, type MessageOf } from './messages.ts'

/** A log link: messages over a connection, each of one epoch. It ends when either side ends, and takes nothing from then on. */

/** The largest message, its entry, and what else is in a batch of entries. */
const FRAME_LIMIT = 2 ** 31

export class Link {
  readonly #connection: Duplex
  readonly #frames: AsyncGenerator<ReturnType<typeof decodeFrame>, void, void>

  constructor(connection: Duplex) {
    this.#connection = connection
    this.#frames = decoded(connection)
    // The reader hears of it; without this an error before the first read would end the process.
    connection.on('error', () => undefined)
  }

  /** What is sent after the end is lost, as all that was under way. */
  send(epoch: number, message: Message): void {
    if (this.#connection.destroyed) return
    writeFrame(this.#connection, { epoch, ...encodeMessage(message) })
  }

  drained(): Promise<void> {
    return drained(this.#connection)
  }

  /** The next message; undefined at the end. Throws LinkFault for one of another epoch. */
  async next(epoch: number): Promise<Message | undefined> {
    const { done, value } = await this.#frames.next()
    if (done) return undefined
    if (value.epoch !== epoch) throw new LinkFault(`a ${value.message.kind} must be of epoch ${epoch}, was of ${value.epoch}`)
    return value.message
  }

  /** The next message, which must be of this kind, and must come. */
  async expect<K extends Message['kind']>(kind: K, epoch: number): Promise<MessageOf<K>> {
    const message = await this.next(epoch)
    if (message?.kind === kind) return message as MessageOf<K>
    throw unexpected(`a ${kind}`, message)
  }

  /** The first message, whatever its epoch. */
  async first(): Promise<{ readonly epoch: number; readonly message: Message } | undefined> {
    const { done, value } = await this.#frames.next()
    return done ? undefined : value
  }

  hasEnded(): boolean {
    return this.#connection.destroyed
  }

  /** Ends when what was sent is on its way. */
  end(): void {
    this.#connection.end(() => this.#connection.destroy())
  }

  /** Ends now. */
  close(): void {
    this.#connection.destroy()
  }
}

export function unexpected(must: string, message: Message | undefined): LinkFault {
  if (message?.kind === 'refused') return new LinkFault(`refused by the primary: ${message.because}: ${message.text}`)
  return new LinkFault(`the next message must be ${must}, was ${message ? `a ${message.kind}` : 'the end of the link'}`)
}

async function* decoded(connection: Duplex): AsyncGenerator<ReturnType<typeof decodeFrame>, void, void> {
  for await (const frame of readFrames(connection, FRAME_LIMIT)) yield decodeFrame(frame)
}

const decodeFrame = (frame: Parameters<typeof decodeMessage>[0] & { readonly epoch: number }) => ({
  epoch: frame.epoch,
  message: decodeMessage(frame),
})
