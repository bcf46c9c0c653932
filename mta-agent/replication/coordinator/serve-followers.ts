import type { TLSSocket } from 'node:tls'
import { LinkFault } from '../log-link/frames.ts'
import type { Timers } from '../timers.ts'
import { type BeaconLink, openBeaconLink, readSession } from './beacon-link.ts'
import { type BeaconRefusal, commonVersion, type Follow, VERSIONS } from './beacon-messages.ts'
import { isSocketError } from './find-primary.ts'

/** The primary's end of a beacon link: it is told who wants to follow, and then what the follower promises. */

export type FollowerPorts = {
  readonly timers: Timers
  readonly shard: string
  readonly incarnation: string
  /** May it follow? With `welcome` a session begins, and `end` ends it. */
  readonly onFollow: (request: FollowRequest) => Welcomed | { readonly kind: 'refused'; readonly because: 'NotPrimary' | 'Behind' }
  readonly onPromise: (session: number, number: number) => void
  /** Nobody need wait for it; the end of the session follows. */
  readonly onLeaving: (session: number) => void
  /** Comes once for each session that began. */
  readonly onEnd: (session: number, because: string) => void
  readonly onFault: (instance: string, because: string) => void
}

export type FollowRequest = { readonly instance: string; readonly copy: string; readonly seen: number; readonly link: BeaconLink }
export type Welcomed = {
  readonly kind: 'welcome'
  readonly session: number
  readonly epoch: number
  readonly token: string
  readonly forcedEpoch: number
}

/** Resolves when the link has ended. */
export async function serveFollower(ports: FollowerPorts, socket: TLSSocket, instance: string): Promise<void> {
  const link = openBeaconLink(socket)
  try {
    const welcomed = await greet(ports, link, instance)
    if (welcomed === undefined) link.end()
    else ports.onEnd(welcomed.session, await listen(ports, link, welcomed))
  } catch (error) {
    if (!isLinkError(error)) throw error
    ports.onFault(instance, error.message)
  } finally {
    link.end()
  }
}

async function greet(ports: FollowerPorts, link: BeaconLink, instance: string): Promise<Welcomed | undefined> {
  const { shard, incarnation, timers } = ports
  const first = await link.next(timers.call)
  if (first?.message.kind !== 'follow') throw new LinkFault(`the first message must be follow, was ${first?.message.kind ?? 'the end'}`)
  const { epoch: seen, message } = first
  const version = commonVersion(message.versions)
  const refusal = judgeRequest(message, shard, version)
  if (refusal !== undefined || version === undefined) {
    if (refusal !== undefined) link.send(seen, { kind: 'refused', ...refusal })
    return undefined
  }
  const answer = ports.onFollow({ instance, copy: message.copy, seen, link })
  if (answer.kind === 'refused') {
    link.send(seen, { ...answer, text: `to follow epoch ${seen} or higher there must be its primary here, was none` })
    return undefined
  }
  const { epoch, token, forcedEpoch } = answer
  link.send(epoch, { kind: 'welcome', version, incarnation, token, forcedEpoch })
  return answer
}

type Refusal = { readonly because: BeaconRefusal; readonly text: string }

function judgeRequest({ shard, versions }: Follow, own: string, version: number | undefined): Refusal | undefined {
  if (shard !== own) return { because: 'OtherShard', text: `the shard must be ${own}, was ${shard}` }
  if (version !== undefined) return undefined
  const text = `the link must be of version ${VERSIONS.least} to ${VERSIONS.most}, was of ${versions.least} to ${versions.most}`
  return { because: 'NoCommonVersion', text }
}

/** Why it ended. */
async function listen(ports: FollowerPorts, link: BeaconLink, { session, epoch }: Welcomed): Promise<string> {
  try {
    for await (const message of readSession(link, epoch, ports.timers.promise)) {
      if (message.kind === 'promise') ports.onPromise(session, message.number)
      else if (message.kind === 'leaving') ports.onLeaving(session)
      else if (message.kind !== 'heard') throw new LinkFault(`a follower must answer beacons, said ${message.kind}`)
    }
    return 'ended by the follower'
  } catch (error) {
    if (!isLinkError(error)) throw error
    return error.message
  }
}

const isLinkError = (error: unknown): error is Error => error instanceof LinkFault || isSocketError(error)
