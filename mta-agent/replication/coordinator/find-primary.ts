import { setTimeout as wait } from 'node:timers/promises'
import { LinkFault } from '../log-link/frames.ts'
import { PeerFault, type PeerTls } from '../peer-tls.ts'
import type { Timers } from '../timers.ts'
import { type BeaconLink, openBeaconLink } from './beacon-link.ts'
import { type Follow, VERSIONS, type Welcome } from './beacon-messages.ts'
import type { PeerAddress } from './messages.ts'

/** A standby looks for the primary: it asks all its peers at once, again and again, until one welcomes it. */

export type FoundPrimary = {
  readonly peer: PeerAddress
  readonly epoch: number
  readonly welcome: Welcome
  readonly link: BeaconLink
}

export type SearchPorts = {
  readonly tls: Pick<PeerTls, 'connect'>
  readonly timers: Timers
  readonly self: { readonly shard: string; readonly copy: string; readonly incarnation: string }
  readonly peers: () => readonly PeerAddress[]
  /** The highest epoch this disk has followed or led. */
  readonly seen: () => number
  /** Whether there is nobody to follow, and a wish to. */
  readonly isWanted: () => boolean
  readonly onFound: (found: FoundPrimary) => void
  readonly onFault: (peer: PeerAddress, because: string) => void
}

/** Until the signal aborts. */
export async function runSearch(ports: SearchPorts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (ports.isWanted()) await askAll(ports, signal)
    await wait(ports.timers.beacon, undefined, { signal }).catch(() => undefined)
  }
}

/** The first who welcomes wins; the others are let go. */
async function askAll(ports: SearchPorts, signal: AbortSignal): Promise<void> {
  const enough = new AbortController()
  const until = AbortSignal.any([signal, enough.signal])
  const asked = ports.peers().map(async (peer) => {
    const found = await ask(ports, peer, until)
    if (found === undefined) return
    if (until.aborted) return found.link.close()
    enough.abort()
    ports.onFound(found)
  })
  await Promise.all(asked)
}

async function ask(ports: SearchPorts, peer: PeerAddress, signal: AbortSignal): Promise<FoundPrimary | undefined> {
  const { call } = ports.timers
  const target = { instance: peer.instance, address: peer.address, port: peer.beaconPort }
  try {
    const link = openBeaconLink(await ports.tls.connect(target, { signal, deadlineMillis: call }))
    try {
      link.send(ports.seen(), followOf(ports.self))
      const answer = await link.next(call)
      const found = judgeAnswer(answer)
      if (typeof found !== 'string') return { ...found, peer, link }
      ports.onFault(peer, found)
    } catch (error) {
      link.close()
      throw error
    }
    link.close()
  } catch (error) {
    if (signal.aborted) return undefined
    if (!(error instanceof PeerFault || error instanceof LinkFault || isSocketError(error))) throw error
    ports.onFault(peer, error.message)
  }
  return undefined
}

const followOf = (self: SearchPorts['self']): Follow => ({ kind: 'follow', versions: VERSIONS, ...self })

type Answer = Awaited<ReturnType<BeaconLink['next']>>

/** A sentence when it is no welcome. */
function judgeAnswer(answer: Answer): { readonly epoch: number; readonly welcome: Welcome } | string {
  if (answer === undefined) return 'a peer must answer to follow, has ended the link'
  const { epoch, message } = answer
  if (message.kind === 'welcome') return { epoch, welcome: message }
  if (message.kind === 'refused') return `${message.because}: ${message.text}`
  return `a peer must answer to follow with welcome, answered with ${message.kind}`
}

/** What the system says of a connection: reset, unreachable. */
export const isSocketError = (error: unknown): error is Error => error instanceof Error && 'code' in error
