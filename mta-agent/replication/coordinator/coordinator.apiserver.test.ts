import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Client, openClient } from '#kube/client.ts'
import { openKubeconfig } from '#kube/config.ts'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { openPeerCertificates, type PeerCertificates } from '#test/support/peer-certificates.ts'
import { inSync, type Member, openShard, type Shard } from '#test/replication/shard.ts'
import { waitFor } from '#test/support/wait.ts'
import { monotonicMillis } from '../monotonic-clock.ts'
import { DRIFT, FAST_TIMERS as timers } from '../timers.ts'

/**
 * Coordinators as they are: a thread in a process, mutual TLS between them, a record in an API server, fast times. What is promised of
 * the protocol on paper is shown here on what runs.
 */

let server: ApiServer
let client: Client
let certificates: PeerCertificates

beforeAll(async () => {
  ;[server, certificates] = await Promise.all([openApiServer(), openPeerCertificates()])
  client = openClient(await openKubeconfig(server.kubeconfig))
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await Promise.all([server[Symbol.asyncDispose](), certificates[Symbol.asyncDispose]()])
})

/** The first instance leads, the others are in sync. */
async function openInSync(name: string, instances: readonly string[]): Promise<Shard> {
  const shard = await openShard({ name, instances, client, kubeconfig: server.kubeconfig, certificates })
  const [a] = shard.members
  await waitFor('a primary with its standbys in sync', async () => a.acts && inSync(await shard.record()).length === instances.length)
  return shard
}

const openPair = (name: string): Promise<Shard> => openInSync(name, ['a', 'b'])

const QUICK = { withinMillis: 20_000, everyMillis: 20 }

/** A standby's promise at worst, one read, one write; and what a busy machine adds. */
const CLAIMED_WITHIN = timers.promise / (1 - DRIFT) + 2 * timers.call + 700

/** What may be done is in the cell before what has happened is told. */
const lastChange = (member: Member) => waitFor('it to say how it came to act', () => member.status?.lastChange, QUICK)

test('the first copy leads, announces itself, and takes its standby into the set', async () => {
  await using shard = await openPair('birth')
  const [a, b] = shard.members
  const slice = await waitFor('the announcement', async () => {
    const found = await shard.slice()
    return found.endpoints?.length === 1 && found
  })
  expect(slice.metadata.annotations).toEqual({ 'mtafleet.io/epoch': '2' })
  expect(slice.endpoints?.[0]).toMatchObject({ addresses: ['192.0.2.1'], nodeName: 'node-of-birth-a', conditions: { ready: true } })
  expect([a.status?.role, b.status?.role, b.status?.following]).toEqual(['Primary', 'Standby', 'birth-a'])
  a.append()
  await waitFor('the entry to be committed', () =>
    a.said.some(({ message }) => message.kind === 'committed' && message.sequence === 2 && message.how === 'inSync'),
  )
})

test('a primary that is killed is replaced within a promise, and comes back as a standby', async () => {
  await using shard = await openPair('killed')
  const [a, b] = shard.members
  const killed = monotonicMillis()
  await a.kill()
  await waitFor('the standby to act', () => b.acts, QUICK)
  expect(monotonicMillis() - killed).toBeLessThan(CLAIMED_WITHIN)
  expect(await lastChange(b)).toMatchObject({ reason: 'PrimaryLost' })
  await a.restart()
  await waitFor('both to be in sync', async () => inSync(await shard.record()).length === 2, QUICK)
  const record = await shard.record()
  expect({ holder: record.holder.instance, epoch: record.epoch, overlaps: shard.overlaps() }).toEqual({
    holder: 'killed-b',
    epoch: 3,
    overlaps: [],
  })
  await waitFor('the new announcement', async () => (await shard.slice()).endpoints?.[0]?.nodeName === 'node-of-killed-b')
  expect((await shard.slice()).metadata.annotations).toEqual({ 'mtafleet.io/epoch': '3' })
})

test('a primary that hangs is replaced, and does not act when it wakes', async () => {
  await using shard = await openPair('hung')
  const [a, b] = shard.members
  const paused = monotonicMillis()
  a.pause()
  await waitFor('the standby to act', () => b.acts, QUICK)
  const took = monotonicMillis() - paused
  await sleep(1_000)
  a.resume()
  await waitFor('both to be in sync', async () => inSync(await shard.record()).length === 2, QUICK)
  expect({ roles: shard.members.map(({ status }) => status?.role), overlaps: shard.overlaps() }).toEqual({
    roles: ['Standby', 'Primary'],
    overlaps: [],
  })
  expect(took).toBeLessThan(CLAIMED_WITHIN)
})

test('without the API server nothing happens', async () => {
  await using shard = await openPair('outage')
  const [a, b] = shard.members
  const before = await shard.record()
  await server.stop()
  try {
    await sleep(2 * timers.promise)
    a.append()
    await waitFor('an entry to be committed', () =>
      a.said.some(({ message }) => message.kind === 'committed' && message.sequence === 2 && message.how === 'inSync'),
    )
  } finally {
    await server.start()
  }
  await sleep(1_000)
  expect({ record: (await shard.record()).version, periods: a.acted.length, acts: a.acts, other: b.acted }).toEqual({
    record: before.version,
    periods: 1,
    acts: true,
    other: [],
  })
})

test('a link that is lost while the API server is there costs the standby its place, and no mail', async () => {
  await using shard = await openPair('cut')
  const [a, b] = shard.members
  const before = await shard.record()
  a.link.cut()
  const cut = monotonicMillis()
  await waitFor('the standby to be removed', async () => inSync(await shard.record()).length === 1, QUICK)
  expect(monotonicMillis() - cut).toBeLessThan(timers.removeAfter + 2 * timers.call + 700)
  await sleep(timers.promise)
  a.link.heal()
  await waitFor('the standby to be back', async () => inSync(await shard.record()).length === 2, QUICK)
  const record = await shard.record()
  expect({ holder: record.holder, epoch: record.epoch, periods: a.acted.length, acts: a.acts, other: b.acted }).toEqual({
    holder: before.holder,
    epoch: before.epoch,
    periods: 1,
    acts: true,
    other: [],
  })
})

test('a standby that confirms nothing is removed', async () => {
  await using shard = await openPair('slow')
  const [a] = shard.members
  a.confirms(false)
  a.append()
  await waitFor('the standby to be removed', async () => inSync(await shard.record()).length === 1, QUICK)
  await waitFor('the entry to be committed without it', () =>
    a.said.some(({ message }) => message.kind === 'committed' && message.sequence === 2 && message.how === 'alone'),
  )
  expect([a.acted.length, a.acts]).toEqual([1, true])
})

test('a switchover hands over without waiting for a promise, and nobody is missing afterwards', async () => {
  await using shard = await openPair('handover')
  const [a, b] = shard.members
  const { epoch } = await shard.record()
  await waitFor('the reign to hold its addresses', () => monotonicMillis() > (a.status?.attachFrom ?? Number.POSITIVE_INFINITY))
  a.post({ kind: 'switchover', epoch })
  await waitFor('the heir to act', () => b.acts, QUICK)
  const pause = (b.acted[0]?.from ?? 0) - (a.acted[0]?.to ?? 0)
  const record = await shard.record()
  expect({ holder: record.holder.instance, epoch: record.epoch, set: inSync(record).length, overlaps: shard.overlaps() }).toEqual({
    holder: 'handover-b',
    epoch: epoch + 1,
    set: 2,
    overlaps: [],
  })
  expect(await lastChange(b)).toMatchObject({ reason: 'Switchover' })
  expect(pause).toBeLessThan(1_000)
})

test('a primary without a standby is back as soon as its process is', async () => {
  await using shard = await openPair('alone')
  const [a, b] = shard.members
  await b.kill()
  await waitFor('the standby to be removed', async () => inSync(await shard.record()).length === 1, QUICK)
  await a.kill()
  await a.restart()
  const started = monotonicMillis()
  await waitFor('it to act', () => a.acts, QUICK)
  expect(monotonicMillis() - started).toBeLessThan(timers.promise / 2)
  expect(await lastChange(a)).toMatchObject({ reason: 'Restarted' })
})

test('of two standbys one takes over, and acts only with the promise of the other', async () => {
  await using shard = await openInSync('three', ['a', 'b', 'c'])
  const [a, ...standbys] = shard.members
  const killed = monotonicMillis()
  await a.kill()
  const heir = await waitFor('one of them to act', () => standbys.find((one) => one.acts), QUICK)
  // Its claim may cross the other's, and the other has to find it.
  expect(monotonicMillis() - killed).toBeLessThan(CLAIMED_WITHIN + timers.promise)
  await waitFor('the other to follow', async () => inSync(await shard.record()).length === 2, QUICK)
  const other = standbys.find((one) => one !== heir)
  const record = await shard.record()
  expect({ holder: record.holder.instance, follows: other?.status?.following, overlaps: shard.overlaps() }).toEqual({
    holder: heir.instance,
    follows: heir.instance,
    overlaps: [],
  })
})

test('a copy that is out of the set is promoted by word of an admin, and by that only', async () => {
  await using shard = await openPair('forced')
  const [a, b] = shard.members
  a.link.cut()
  await waitFor('the standby to be removed', async () => inSync(await shard.record()).length === 1, QUICK)
  await a.kill()
  await sleep(2 * timers.promise)
  expect([b.acts, b.status?.role]).toEqual([false, 'Standby'])
  const { version: recordVersion, epoch } = await shard.record()
  b.post({ kind: 'force', recordVersion: '1', incompleteToo: false })
  await waitFor('the refusal', () => b.said.some(({ message }) => message.kind === 'forceRefused' && message.because === 'OtherVersion'))
  b.post({ kind: 'force', recordVersion, incompleteToo: false })
  await waitFor('the promotion', () => b.acts, QUICK)
  const record = await shard.record()
  expect({ epoch: record.epoch, forced: record.forcedEpoch, set: inSync(record) }).toEqual({
    epoch: epoch + 1,
    forced: epoch + 1,
    set: ['forced-b/forced-b-copy'],
  })
  expect(await lastChange(b)).toMatchObject({ reason: 'Forced' })
})
