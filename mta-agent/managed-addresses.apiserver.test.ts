import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { ANNOTATIONS } from '#crds/group.ts'
import { temporaryDirectory } from '#test/builders/queue.ts'
import { allArrived as allOfThemArrived, inSync, leads, openRunningPair } from '#test/cluster/running-pair.ts'
import type { Place, ShardAgent, ShardOfAgents } from '#test/cluster/shard-of-agents.ts'
import type { Accepted } from '#test/internet/load.ts'
import { type MailHub, openHolder, openMailHub, openRelay, type Running } from '#test/replication/nodes.ts'
import { type AddressWatch, openBridgedLan, type Stay, watchAddresses } from '#test/support/bridged-lan.ts'
import type { Host } from '#test/support/lan.ts'
import { waitFor } from '#test/support/wait.ts'
import { KERNEL_LATE } from './address-holder/lifetimes.ts'
import { DEFAULT_TIMERS } from './replication/timers.ts'

/**
 * Two agents of a shard, on two nodes, with the same addresses: each with its address holder and a kernel's network of its own, and a provider that
 * sees where mail comes from. Needs root, as the tests of the address holder do.
 */

vi.setConfig({ testTimeout: 180_000 })

const SHARED = '198.18.0.107'
const SHARED6 = 'fd00:18::107'
const HUB = '198.18.0.9'
/** Of a busy machine. */
const SLACK = 1_000

type Setting = AsyncDisposable & {
  readonly hub: MailHub
  readonly nodes: readonly [Host, Host]
  readonly holders: readonly [Running, Running]
  readonly shard: ShardOfAgents
  readonly watch: AddressWatch
}

async function openSetting(): Promise<Setting> {
  await using stack = new AsyncDisposableStack()
  const { nodes, hub: hubHost } = stack.use(await openBridgedLan())
  const hub = stack.use(await openMailHub(hubHost, HUB))
  const watch = stack.use(await watchAddresses(nodes))
  const folders = [stack.use(temporaryDirectory()).path, stack.use(temporaryDirectory()).path] as const
  const open = async (index: 0 | 1): Promise<Running> => stack.use(await openHolder(nodes[index], join(folders[index], 'holder.sock')))
  const holders = [await open(0), await open(1)] as const
  const relays = stack.use(new AsyncDisposableStack())
  const place = (index: 0 | 1): Place => {
    // The name that is said in EHLO tells one instance from the other, for their address does not.
    const hostName = `node${index}.mta.example.com`
    return {
      address: `198.18.0.${index + 1}`,
      source: {
        addressAttachment: 'Managed',
        addresses: [
          { address: SHARED, hostName },
          { address: SHARED6, hostName },
        ],
      },
      addressHolder: folders[index],
      spawn: (argv) => nodes[index].spawn(argv),
      reach: async (kubeconfig) => {
        relays.use(await openRelay(nodes[index], kubeconfig, join(folders[index], 'api.sock')))
        return kubeconfig
      },
    }
  }
  const shard = stack.use(await openRunningPair({ nextHop: { address: HUB, port: hub.port }, places: [place(0), place(1)] }))
  const resources = stack.move()
  return { hub, nodes, holders, shard, watch, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

const submit = (hub: MailHub, { port }: ShardAgent, index: 0 | 1, run: string, count = 20) =>
  hub.submit({ run, host: `198.18.0.${index + 1}`, port, count })

const allArrived = (hub: MailHub, accepted: readonly Accepted[]) => allOfThemArrived(() => hub.arrivals(), accepted)

/** Of each message of a run: from where it came, and who said so. */
const cameFrom = (hub: MailHub, accepted: readonly Accepted[]) =>
  new Set(
    hub
      .arrivals()
      .filter(({ messageId }) => accepted.some((one) => one.messageId === messageId))
      .map(({ sourceAddress, hello }) => `${sourceAddress} ${hello}`),
  )

/** By the kernel's own word, at no time on both nodes. */
function expectNeverBoth(watch: AddressWatch): void {
  const overlaps = [SHARED, SHARED6].flatMap((address) => {
    const stays = watch.stays(address).toSorted((one, other) => one.from - other.from)
    return stays.filter((stay, index) => (stays[index + 1]?.from ?? Infinity) < stay.until)
  })
  expect(overlaps).toEqual([])
}

const lastStay = (watch: AddressWatch, host: Host): Stay =>
  watch.stays(SHARED).findLast((stay) => stay.host === host.namespace) ?? { host: host.namespace, address: SHARED, from: NaN, until: NaN }

test('a primary that is killed: its address is on the other node within the timers, and mail comes from it as before', async () => {
  await using setting = await openSetting()
  const { hub, nodes, shard, watch } = setting
  const [a, b] = shard.agents
  const first = await submit(hub, a, 0, 'first')
  await allArrived(hub, first)
  expect([await a.condition('AddressesPresent'), await b.condition('AddressesPresent')]).toEqual(['True Present', 'True NotDue'])
  expect([watch.stays(SHARED).length, watch.stays(SHARED6).length]).toEqual([1, 1])
  const killedAt = Date.now()
  a.kill('SIGKILL')
  await leads(b)
  const second = await submit(hub, b, 1, 'second')
  await allArrived(hub, second)
  expect([cameFrom(hub, first), cameFrom(hub, second)]).toEqual([
    new Set([`${SHARED} node0.mta.example.com`]),
    new Set([`${SHARED} node1.mta.example.com`]),
  ])
  const [before, after] = [lastStay(watch, nodes[0]), lastStay(watch, nodes[1])]
  // The end of the agent's process is the end of its addresses.
  expect(before.until - killedAt).toBeLessThan(SLACK)
  expect(after.from - killedAt).toBeLessThan(10_000)
  expectNeverBoth(watch)
})

test('a node that hangs: the kernel drops the address by the end of the right; when it wakes, nothing is sent from it', async () => {
  await using setting = await openSetting()
  const { hub, nodes, holders, shard, watch } = setting
  const [a, b] = shard.agents
  const first = submit(hub, a, 0, 'first', 400)
  await waitFor('some mail', () => hub.arrivals().length > 100, { everyMillis: 5 })
  const stoppedAt = Date.now()
  holders[0].kill('SIGSTOP')
  a.kill('SIGSTOP')
  await leads(b)
  const second = await submit(hub, b, 1, 'second')
  await allArrived(hub, second)
  const [before, after] = [lastStay(watch, nodes[0]), lastStay(watch, nodes[1])]
  expect(before.until - stoppedAt).toBeLessThan(DEFAULT_TIMERS.right + KERNEL_LATE + SLACK)
  expect(after.from - stoppedAt).toBeLessThan(10_000)
  const seen = hub.arrivals().length
  a.kill('SIGCONT')
  holders[0].kill('SIGCONT')
  await waitFor('the old primary as standby', async () => (await a.status())?.role === 'Standby')
  await inSync(b, 2)
  const third = await submit(hub, b, 1, 'third')
  await allArrived(hub, third)
  expect(
    new Set(
      hub
        .arrivals()
        .slice(seen)
        .map(({ hello }) => hello),
    ),
  ).toEqual(new Set(['node1.mta.example.com']))
  expect(lastStay(watch, nodes[0])).toEqual(before)
  expectNeverBoth(watch)
  void first
})

test('a switchover takes the address along in less than two seconds, and no message is sent twice', async () => {
  await using setting = await openSetting()
  const { hub, nodes, shard, watch } = setting
  const [a, b] = shard.agents
  const first = await submit(hub, a, 0, 'first', 100)
  await a.ask({ [ANNOTATIONS.switchover]: String((await a.status())!.epoch) })
  await leads(b)
  const second = await submit(hub, b, 1, 'second')
  await allArrived(hub, [...first, ...second])
  const [before, after] = [lastStay(watch, nodes[0]), lastStay(watch, nodes[1])]
  expect(after.from - before.until).toBeLessThan(2_000)
  expect(cameFrom(hub, second)).toEqual(new Set([`${SHARED} node1.mta.example.com`]))
  const ids = hub.arrivals().map(({ messageId }) => messageId)
  expect(ids.length).toBe(new Set(ids).size)
  expectNeverBoth(watch)
})
