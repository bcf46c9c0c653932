import type { IPPool } from '#crds/ip-pool.ts'
import { type Member, openPair, type PairOptions, type Reign } from './pair.ts'
import { type Facts, must, mustEqual, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

const STREAM = 'moving'
/** Of a switchover that was asked for: from the last transaction of the one to the first of the other. The aim is 2 s, and the number is reported; with what a busy machine adds, but less than the 3.8 s of an heir that waits in vain for a promise. */
const PAUSE_MILLIS = 3_500

/** From the cut to the first delivery: the aims for a lost node, with what a busy machine adds. Ten seconds more are lost when an address is tried before it is there. */
const DELIVERED_WITHIN_MILLIS = { Default: 15_000, Fast: 10_000 }

const PROMISE =
  "source addresses go with the role: after the primary's node has lost power, and after a switchover, mail leaves from the same addresses by the other node, and never by two"

export const scenario: Scenario = { name: 'addresses-move', promise: PROMISE, needs: 'local', run: (stage) => moves(stage, 'Default') }
export const withFast: Scenario = {
  name: 'addresses-move-fast',
  promise: `with fast times ${PROMISE}`,
  needs: 'local',
  occasion: 'byName',
  run: (stage) => moves(stage, 'Fast'),
}

async function moves(stage: Stage, timing: NonNullable<PairOptions['timing']>): Promise<Facts> {
  const faults = stage.localFaults()
  const pair = await openPair(stage, STREAM, { attachment: 'Managed', timing })
  const [first, other] = [await pair.primary(), await pair.standby()]
  await mustBeOn(stage, first, other)
  const load = await pair.load()
  const probe = await pair.probe()
  await load.accepted(300)

  // 1. The primary's node. Its kernel cannot be asked to let go; whoever takes over announces what he puts on his.
  const offAt = Date.now()
  await faults.powerOff(first.node)
  const heir = await pair.heirOf(first)
  const gap = await pair.gap(probe, heir, offAt)
  const most = DELIVERED_WITHIN_MILLIS[timing]
  must(gap.deliveredMillis <= most, `mail must leave by the other node within ${most} ms, did after ${gap.deliveredMillis} ms`)
  await faults.powerOn(first.node)
  await pair.inSync()
  await mustBeOn(stage, heir, first)
  const counts = await pair.mustHaveArrived(1)

  // 2. And back, as it was asked for.
  const after = await pair.load()
  await after.accepted(200)
  const askedAt = Date.now()
  await stage.kubectl('annotate', 'mtainstance', heir.name, `mtafleet.io/switchover=${heir.epoch}`, '--overwrite')
  const last = await pair.heirOf(heir)
  mustEqual('the one that took over', last.name, first.name)
  await after.accepted(after.acceptedCount() + 200)
  await pair.inSync()
  await mustBeOn(stage, last, heir)
  const total = await pair.mustHaveArrived(1)
  const turns = await pair.mustHaveReignedInTurn(first, heir, last)
  const [, second, third] = turns
  const pauseMillis = third!.from - second!.to
  mustEqual('messages that a switchover sent twice', total.duplicated - counts.duplicated, 0)
  must(pauseMillis < PAUSE_MILLIS, `a switchover must cost less than ${PAUSE_MILLIS} ms of sending, cost ${pauseMillis} ms`)
  await mustComeAndGo(stage)
  return { ...total, ...gap, switchoverMillis: last.claimedAt - askedAt, pauseMillis }
}

/** Without standbys an address comes with the only instance, and goes with it. */
async function mustComeAndGo(stage: Stage): Promise<void> {
  await stage.deploy('single', { nodes: [], addressesOf: [3], attachment: 'Managed' })
  const [instance] = await stage.instances('single')
  const node = Number(instance!.spec.nodeName!.replace(/^node/, ''))
  const load = await stage.load('single', { count: 50, connections: 2, domains: ['plain.example'] })
  const report = await load.finished(60_000)
  mustEqual('accepted by a single instance', report.accepted.length, 50)
  await stage.allArrived('single', report, { alone: true })
  const own = instance!.spec.addresses.map(({ address }) => address)
  const held = async () => (await stage.addressesOn(node)).filter((address) => own.includes(address))
  mustEqual(`addresses of ${instance!.metadata.name} on node ${node}`, (await held()).toSorted(), own.toSorted())
  await stage.kubectl('delete', 'sendingstream', 'single', '--timeout=120s')
  mustEqual(`addresses on node ${node} when the instance is gone`, await held(), [])
}

/** All addresses of the pair are on the node of the one and none on that of the other, and the pool says so. */
async function mustBeOn(stage: Stage, owner: Reign, other: Member): Promise<void> {
  const { addresses } = owner
  await stage.waitFor(`${addresses.join(' and ')} to be on node ${owner.node}`, 30_000, async () => {
    const there = await stage.addressesOn(owner.node)
    return addresses.every((address) => there.includes(address))
  })
  const strays = (await stage.addressesOn(other.node)).filter((address) => addresses.includes(address))
  mustEqual(`addresses of ${owner.name} on node ${other.node}`, strays, [])
  await stage.waitFor('the pool to say so', 30_000, async () => {
    const { status } = await stage.read<IPPool>('ippool', STREAM)
    return status?.addresses?.every(({ state, instance }) => state === 'Attached' && instance === owner.name)
  })
}
