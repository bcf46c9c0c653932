import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPeerCertificates, type PeerCertificates } from '#test/support/peer-certificates.ts'
import { waitFor } from '#test/support/wait.ts'
import { writeFrame } from '../log-link/frames.ts'
import { formatPeerName } from '../peer-name.ts'
import { openPeerTls } from '../peer-tls.ts'
import { FAST_TIMERS } from '../timers.ts'
import { openBeaconLink } from './beacon-link.ts'
import { encodeBeaconMessage, type Follow } from './beacon-messages.ts'
import { type FoundPrimary, runSearch } from './find-primary.ts'
import { type FollowerPorts, serveFollower, type Welcomed } from './serve-followers.ts'

/** Both ends of the beacon link over TLS on loopback, and ends that do not keep to it. */

const SCOPE = { stream: 'news', namespace: 'mail' }
const timers = { ...FAST_TIMERS, beacon: 20, call: 2_000, promise: 400 }
const WELCOME: Welcomed = { kind: 'welcome', session: 1, epoch: 5, token: 't', forcedEpoch: 0 }
const FOLLOW: Follow = { kind: 'follow', versions: { least: 1, most: 1 }, shard: 'news-0', copy: 'b1', incarnation: 'bi' }

let certificates: PeerCertificates
beforeAll(async () => {
  certificates = await openPeerCertificates()
})
afterAll(() => certificates[Symbol.asyncDispose]())

const openTls = async (instance: string) =>
  openPeerTls({ directory: await certificates.directoryFor(formatPeerName(SCOPE, instance)), scope: SCOPE, wall: Date.now })

type Served = AsyncDisposable & {
  readonly port: number
  readonly heard: readonly string[]
  connect(): Promise<Duplex>
  /** What a search of the follower finds. */
  search(shard: string): Promise<{ readonly found: FoundPrimary | undefined; readonly faults: readonly string[] }>
}

/** `a`, which answers followers like this. */
async function serve(onFollow: FollowerPorts['onFollow'] = () => WELCOME): Promise<Served> {
  const heard: string[] = []
  const [primary, standby] = await Promise.all([openTls('a'), openTls('b')])
  const ports: FollowerPorts = {
    timers,
    shard: 'news-0',
    incarnation: 'ai',
    onFollow,
    onPromise: (session, number) => heard.push(`promise ${number} of ${session}`),
    onLeaving: (session) => heard.push(`${session} is leaving`),
    onEnd: (session, because) => heard.push(`end of ${session}: ${because}`),
    onFault: (instance, because) => heard.push(`fault of ${instance}: ${because}`),
  }
  const serving = new Set<Promise<void>>()
  const listener = await primary.listen({
    address: '127.0.0.1',
    port: 0,
    onPeer: (socket, instance) => serving.add(serveFollower(ports, socket, instance)),
    onFault: ({ message }) => heard.push(message),
  })
  const peer = { instance: 'a', address: '127.0.0.1', logPort: 1, beaconPort: listener.port }
  return {
    port: listener.port,
    heard,
    connect: () => standby.connect({ ...peer, port: listener.port }, { signal: AbortSignal.timeout(10_000), deadlineMillis: 5_000 }),
    search: async (shard) => {
      const ended = new AbortController()
      const faults: string[] = []
      let found: FoundPrimary | undefined
      const search = runSearch(
        {
          tls: standby,
          timers,
          self: { shard, copy: 'b1', incarnation: 'bi' },
          peers: () => [peer],
          seen: () => 4,
          isWanted: () => found === undefined,
          onFound: (one) => (found = one),
          onFault: (_, because) => faults.push(because),
        },
        ended.signal,
      )
      await waitFor('an answer', () => found !== undefined || faults.length > 0)
      ended.abort()
      await search
      return { found, faults: [...new Set(faults)] }
    },
    [Symbol.asyncDispose]: async () => {
      await listener[Symbol.asyncDispose]()
      await Promise.all(serving)
      primary[Symbol.dispose]()
      standby[Symbol.dispose]()
    },
  }
}

test('a follower finds its primary, and its promises arrive', async () => {
  let seen: unknown
  await using primary = await serve(({ instance, copy, seen: epoch }) => {
    seen = { instance, copy, epoch }
    return WELCOME
  })
  const { found } = await primary.search('news-0')
  expect(seen).toEqual({ instance: 'b', copy: 'b1', epoch: 4 })
  expect(found).toMatchObject({ epoch: 5, welcome: { token: 't', forcedEpoch: 0, incarnation: 'ai' }, peer: { instance: 'a' } })
  found?.link.send(5, { kind: 'heard', number: 1 })
  found?.link.send(5, { kind: 'promise', number: 2 })
  await waitFor('the promise', () => primary.heard.length > 0)
  expect(primary.heard).toEqual(['promise 2 of 1'])
  found?.link.send(5, { kind: 'leaving' })
  found?.link.end()
  await waitFor('the end', () => primary.heard.length > 2)
  expect(primary.heard).toEqual(['promise 2 of 1', '1 is leaving', 'end of 1: ended by the follower'])
})

test('one who does not lead says so, and is asked again', async () => {
  let asked = 0
  await using primary = await serve(() => (++asked < 3 ? { kind: 'refused', because: 'NotPrimary' } : WELCOME))
  const first = await primary.search('news-0')
  expect(first.faults).toEqual(['NotPrimary: to follow epoch 4 or higher there must be its primary here, was none'])
  await waitFor('the welcome', async () => (await primary.search('news-0')).found !== undefined)
})

test('an instance of another shard of the stream is refused, whoever leads', async () => {
  await using primary = await serve()
  expect(await primary.search('news-1')).toEqual({ found: undefined, faults: ['OtherShard: the shard must be news-0, was news-1'] })
})

const say = (socket: Duplex, epoch: number, message: Parameters<typeof encodeBeaconMessage>[0]): void =>
  writeFrame(socket, { epoch, ...encodeBeaconMessage(message) })

test.each([
  {
    what: 'a promise of another epoch',
    play: (socket: Duplex) => {
      say(socket, 4, FOLLOW)
      say(socket, 4, { kind: 'promise', number: 1 })
    },
    heard: 'end of 1: a promise must be of epoch 5, was of 4',
  },
  {
    what: 'a beacon from a follower',
    play: (socket: Duplex) => {
      say(socket, 4, FOLLOW)
      say(socket, 5, { kind: 'beacon', number: 1 })
    },
    heard: 'end of 1: a follower must answer beacons, said beacon',
  },
  {
    what: 'a promise before follow',
    play: (socket: Duplex) => say(socket, 4, { kind: 'promise', number: 1 }),
    heard: 'fault of b: the first message must be follow, was promise',
  },
  {
    what: 'a frame that would take all memory',
    play: (socket: Duplex) => void socket.write(Buffer.from('ffffffff0100000005', 'hex')),
    heard: 'fault of b: a frame must be of 5 to 4096 bytes, was of 4294967295',
  },
  {
    what: 'half a frame',
    play: (socket: Duplex) => void socket.end(Buffer.from('00000020', 'hex')),
    heard: 'fault of b: the link must end with a whole frame, was ended within one after 4 bytes',
  },
])('$what ends the link', async ({ play, heard }) => {
  await using primary = await serve()
  const socket = (await primary.connect()).on('error', () => undefined).resume()
  const closed = once(socket, 'close')
  play(socket)
  await closed
  expect(primary.heard).toEqual([heard])
})

test.each([
  { what: 'follower', says: [FOLLOW], heard: 'end of 1: a peer must say something within 400 ms, was silent' },
  { what: 'stranger', says: [], heard: 'fault of b: a peer must say something within 2000 ms, was silent' },
])('a $what that falls silent loses its link', async ({ says, heard }) => {
  await using primary = await serve()
  const socket = (await primary.connect()).on('error', () => undefined).resume()
  for (const message of says) say(socket, 4, message)
  await once(socket, 'close')
  expect(primary.heard).toEqual([heard])
})

test('one who takes nothing of what it is sent loses its link, and costs no memory', () => {
  // Its first write never returns.
  const stuck = new Duplex({ read: () => undefined, write: () => undefined })
  const link = openBeaconLink(stuck)
  for (let number = 1; number < 5_000; number++) link.send(5, { kind: 'beacon', number })
  expect(stuck.destroyed).toBe(true)
  expect(stuck.writableLength).toBeLessThan(20_000)
})
