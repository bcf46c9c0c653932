import { connect as connectTls, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPeerCertificates, type PeerCertificates } from '#test/support/peer-certificates.ts'
import { waitFor } from '#test/support/wait.ts'
import { formatPeerName } from './peer-name.ts'
import { openPeerTls, PeerFault, type PeerListener, type PeerTls } from './peer-tls.ts'

const SCOPE = { stream: 'news', namespace: 'mail' }
const A = formatPeerName(SCOPE, 'news-0-a')
const B = formatPeerName(SCOPE, 'news-0-b')

let ours: PeerCertificates
let theirs: PeerCertificates
beforeAll(async () => {
  ;[ours, theirs] = await Promise.all([openPeerCertificates(), openPeerCertificates()])
})
afterAll(async () => {
  await Promise.all([ours[Symbol.asyncDispose](), theirs[Symbol.asyncDispose]()])
})

type Listening = AsyncDisposable & {
  readonly port: number
  readonly peers: string[]
  readonly faults: string[]
  readonly sockets: TLSSocket[]
}

/** `news-0-a`, listening with the certificate of this directory. */
async function listen(directory: string): Promise<Listening> {
  const tls = open(directory)
  const [peers, faults, sockets]: [string[], string[], TLSSocket[]] = [[], [], []]
  const listener: PeerListener = await tls.listen({
    address: '127.0.0.1',
    port: 0,
    onPeer: (socket, instance) => {
      socket.on('error', () => undefined)
      sockets.push(socket)
      peers.push(instance)
    },
    onFault: (fault) => faults.push(fault.message),
  })
  return {
    port: listener.port,
    peers,
    faults,
    sockets,
    [Symbol.asyncDispose]: async () => {
      await listener[Symbol.asyncDispose]()
      tls[Symbol.dispose]()
    },
  }
}

const open = (directory: string): PeerTls => openPeerTls({ directory, scope: SCOPE, wall: Date.now, lookEveryMillis: 20 })

const target = (port: number, instance = 'news-0-a') => ({ instance, address: '127.0.0.1', port })
const timing = { signal: AbortSignal.timeout(20_000), deadlineMillis: 5_000 }

/** The fingerprint of the certificate that new connections see. */
async function shownBy(port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false }, () =>
    resolve(socket.getPeerX509Certificate()!.fingerprint256),
  )
  socket.on('error', () => undefined)
  const shown = await promise
  socket.destroy()
  return shown
}

test('two instances of a stream know each other by name', async () => {
  await using primary = await listen(await ours.directoryFor(A))
  using standby = open(await ours.directoryFor(B))
  const socket = await standby.connect(target(primary.port), timing)
  await waitFor('the peer to be taken', () => primary.peers.length > 0)
  expect({ peers: primary.peers, protocol: socket.getProtocol() }).toEqual({ peers: ['news-0-b'], protocol: 'TLSv1.3' })
})

test('one of another authority is turned away, and heard nothing', async () => {
  await using primary = await listen(await ours.directoryFor(A))
  using stranger = open(await theirs.directoryFor(B, ours))
  const socket = await stranger.connect(target(primary.port), timing)
  const heard: Buffer[] = []
  socket.on('data', (bytes: Buffer) => heard.push(bytes))
  socket.write('hello')
  await once(socket, 'close')
  expect({ peers: primary.peers, heard, faults: primary.faults.length }).toEqual({ peers: [], heard: [], faults: 1 })
})

test('one of another stream is turned away by its name, although the authority is the same', async () => {
  await using primary = await listen(await ours.directoryFor(A))
  using other = open(await ours.directoryFor('cold-0-b.cold.mail.mtafleet'))
  const socket = await other.connect(target(primary.port), timing)
  await once(socket.resume(), 'close')
  expect(primary.peers).toEqual([])
  expect(primary.faults).toEqual([
    expect.stringMatching(/^127\.0\.0\.1 port \d+ must be an instance of mail\/news, was DNS:cold-0-b\.cold\.mail\.mtafleet$/),
  ])
})

test('a primary that is another instance than the one that was looked for is not followed', async () => {
  await using primary = await listen(await ours.directoryFor(A))
  using standby = open(await ours.directoryFor(B))
  await expect(standby.connect(target(primary.port, 'news-0-c'), timing)).rejects.toThrow(
    /^news-0-c must answer at 127\.0\.0\.1 port \d+: its certificate must name news-0-c\.news\.mail\.mtafleet, named DNS:news-0-a\.news\.mail\.mtafleet$/,
  )
})

test('a primary of another authority is not followed', async () => {
  await using primary = await listen(await theirs.directoryFor(A, ours))
  using standby = open(await ours.directoryFor(B))
  await expect(standby.connect(target(primary.port), timing)).rejects.toThrow(PeerFault)
})

test('without a certificate nobody is taken', async () => {
  await using primary = await listen(await ours.directoryFor(A))
  using bare = openPeerTls({ directory: '/nonexistent', scope: SCOPE, wall: Date.now })
  await expect(bare.connect(target(primary.port), timing)).rejects.toThrow(/^\/nonexistent\/\S+ must be readable/)
})

test('new files are used for the next link, and the open one stays', async () => {
  const directory = await ours.directoryFor(A)
  await using primary = await listen(directory)
  using standby = open(await ours.directoryFor(B))
  const first = await standby.connect(target(primary.port), timing)
  const before = await shownBy(primary.port)
  await ours.renew(directory, A)
  await waitFor('the new certificate to be shown', async () => (await shownBy(primary.port)) !== before)
  expect(first.destroyed).toBe(false)
})

test('new files that do not belong together are told, and those from before stay in force', async () => {
  const directory = await ours.directoryFor(A)
  await using primary = await listen(directory)
  const { writeFile } = await import('node:fs/promises')
  await writeFile(`${directory}/tls.key`, 'no key')
  await waitFor('the fault to be told', () => primary.faults.length > 0)
  using standby = open(await ours.directoryFor(B))
  const socket = await standby.connect(target(primary.port), timing)
  expect({ fault: primary.faults[0], open: !socket.destroyed }).toEqual({
    fault: expect.stringMatching(/^new certificate files cannot be used: /) as string,
    open: true,
  })
})

test('a listener that closes ends the links and those who still shake hands', async () => {
  const primary = await listen(await ours.directoryFor(A))
  using standby = open(await ours.directoryFor(B))
  const socket = await standby.connect(target(primary.port), timing)
  const { connect } = await import('node:net')
  const silent = connect(primary.port, '127.0.0.1').on('error', () => undefined)
  await once(silent, 'connect')
  await waitFor('the link to be taken', () => primary.peers.length > 0)
  const ends = [once(socket, 'close'), once(silent, 'close')]
  await primary[Symbol.asyncDispose]()
  await Promise.all(ends)
  await expect(standby.connect(target(primary.port), timing)).rejects.toThrow(/ECONNREFUSED/)
})

test('nobody there: the wait ends at its deadline, and at once when it is called off', async () => {
  const { createServer } = await import('node:net')
  const mute = createServer(() => undefined)
  mute.listen(0, '127.0.0.1')
  await once(mute, 'listening')
  const { port } = mute.address() as { port: number }
  using standby = open(await ours.directoryFor(B))
  const { signal } = timing
  await expect(standby.connect(target(port), { signal, deadlineMillis: 100 })).rejects.toThrow(/was not there after 100 ms$/)
  const reason = new Error('called off')
  await expect(standby.connect(target(port), { signal: AbortSignal.abort(reason), deadlineMillis: 5_000 })).rejects.toBe(reason)
  mute.close()
})

test('a link whose certificate has expired ends', async () => {
  await using primary = await listen(await ours.directoryFor(A))
  let wall = Date.now()
  using standby = openPeerTls({ directory: await ours.directoryFor(B), scope: SCOPE, wall: () => wall, lookEveryMillis: 20 })
  const socket = await standby.connect(target(primary.port), timing)
  const ended = once(socket, 'close')
  expect(socket.destroyed).toBe(false)
  // The authority of these tests gives 30 days.
  wall += 31 * 86_400_000
  await expect(ended).rejects.toThrow('the certificates of a link must be valid, was expired')
})
