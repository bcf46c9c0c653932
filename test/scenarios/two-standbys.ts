import { openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

/** Fast timers, with what a busy machine adds. Two copies that die together cost one more removal. */
const TAKEN_OVER_WITHIN_MILLIS = 15_000

export const scenario: Scenario = {
  name: 'two-standbys',
  promise:
    'with two standbys and fast timers mail goes on whichever two of the three nodes lose power, together or one after the other, and nothing acknowledged is lost',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    const shard = await openPair(stage, 'trio', { standbys: 2, timing: 'Fast' })
    const load = await shard.load()
    const probe = await shard.probe()
    await load.accepted(200)

    // 1. The primary's node, and then the heir's: the third was in the set all the time.
    const first = await shard.primary()
    const firstOffAt = Date.now()
    await faults.powerOff(first.node)
    const second = await shard.heirOf(first)
    const oneGap = await shard.gap(probe, second, firstOffAt)
    const secondOffAt = Date.now()
    await faults.powerOff(second.node)
    const third = await shard.heirOf(second)
    const nextGap = await shard.gap(probe, third, secondOffAt)
    mustEqual('nodes that led', new Set([first.node, second.node, third.node]).size, 3)
    await faults.powerOn(first.node)
    await faults.powerOn(second.node)
    await shard.inSync()

    // 2. The primary's node and a standby's at once: the last one claims, and must take the other out of the set before it acts.
    const lost = await shard.standby()
    const bothOffAt = Date.now()
    await Promise.all([faults.powerOff(third.node), faults.powerOff(lost.node)])
    const last = await shard.heirOf(third)
    const bothGap = await shard.gap(probe, last, bothOffAt)
    await faults.powerOn(third.node)
    await faults.powerOn(lost.node)
    await shard.inSync()

    const counts = await shard.mustHaveArrived(3)
    await shard.mustHaveSentInTurn(first, second, third, last)
    for (const { acceptedMillis } of [oneGap, nextGap, bothGap])
      must(
        acceptedMillis <= TAKEN_OVER_WITHIN_MILLIS,
        `a new client must be served within ${TAKEN_OVER_WITHIN_MILLIS} ms, took ${acceptedMillis} ms`,
      )
    return {
      ...counts,
      acceptedMillis: oneGap.acceptedMillis,
      nextAcceptedMillis: nextGap.acceptedMillis,
      bothAcceptedMillis: bothGap.acceptedMillis,
      bothDeliveredMillis: bothGap.deliveredMillis,
    }
  },
}
