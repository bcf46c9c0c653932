import type { Duplex } from 'node:stream'
import { setTimeout as startTimer } from 'node:timers'
import { LinkFault, readFrames, writeFrame } from '../log-link/frames.ts'
import type { Millis } from '../timers.ts'
import { BEACON_FRAME_LIMIT, type BeaconMessage, decodeBeaconMessage, encodeBeaconMessage } from './beacon-messages.ts'

/** A beacon link: small messages over a connection of their own, so that no batch of entries is before them. It ends when either side ends. */
export type BeaconLink = {
  /** What is sent after the end is lost, as all that was under way. */
  send(epoch: number, message: BeaconMessage): void
  /** The next message; undefined at the end. Throws LinkFault for what is none, and when none has come for `silence`. */
  next(silence: Millis): Promise<Received | undefined>
  /** Says what was sent, then ends. */
  end(): void
  /** Ends now. */
  close(): void
}

export type Received = { readonly epoch: number; readonly message: BeaconMessage }

/** One that takes nothing has more than a minute of beacons before it: it is gone. */
const UNSENT_BYTES = 16_384

/** For what was sent to leave, and the other side to end too. */
const LAST_WORDS_MILLIS = 1_000

export function openBeaconLink(connection: Duplex): BeaconLink {
  // The reader hears of it; without this an error before the first read would end the process.
  connection.on('error', () => undefined)
  const frames = readFrames(connection, BEACON_FRAME_LIMIT)
  return {
    send: (epoch, message) => {
      if (connection.destroyed || connection.writableEnded) return
      if (connection.writableLength > UNSENT_BYTES) {
        connection.destroy(new LinkFault(`a peer must take what it is sent, left ${connection.writableLength} bytes`))
        return
      }
      writeFrame(connection, { epoch, ...encodeBeaconMessage(message) })
    },
    next: async (silence) => {
      const timer = startTimer(
        () => connection.destroy(new LinkFault(`a peer must say something within ${silence} ms, was silent`)),
        silence,
      )
      try {
        const { done, value } = await frames.next()
        return done ? undefined : { epoch: value.epoch, message: decodeBeaconMessage(value) }
      } finally {
        clearTimeout(timer)
      }
    },
    end: () => {
      connection.end()
      startTimer(() => connection.destroy(), LAST_WORDS_MILLIS).unref()
    },
    close: () => void connection.destroy(),
  }
}

/** Every message of the session until it ends; throws LinkFault for one of another epoch. */
export async function* readSession(link: BeaconLink, epoch: number, silence: Millis): AsyncGenerator<BeaconMessage, void, void> {
  for (let next = await link.next(silence); next !== undefined; next = await link.next(silence)) {
    if (next.epoch !== epoch) throw new LinkFault(`a ${next.message.kind} must be of epoch ${epoch}, was of ${next.epoch}`)
    yield next.message
  }
}
