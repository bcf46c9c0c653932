import { eventsOf } from './pair-looks.ts'
import { type Gap, openPair, type Reign } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** Timers of the protocol (mta-agent/replication/README.md, section 4), with what a busy machine adds. */
const REMOVED_WITHIN_MILLIS = 10_000
const TAKEN_OVER_WITHIN_MILLIS = 20_000

export const scenario: Scenario = {
  name: 'pair-power',
  promise:
    "the standby's node, then the primary's, then both one after the other lose power under load: mail goes on, nothing acknowledged is lost, never do two send",
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    const pair = await openPair(stage, 'power')
    const [first, second] = [await pair.primary(), await pair.standby()]
    const load = await pair.load()
    const probe = await pair.probe()
    await load.accepted(200)

    // 1. The standby's node. The primary takes it out of the set and goes on alone, and says so.
    const [standbyOffAt, acceptedBefore] = [Date.now(), load.acceptedCount()]
    await faults.powerOff(second.node)
    const aloneMillis = (await pair.aloneSince()) - standbyOffAt
    await load.accepted(acceptedBefore + 200)
    await stage.waitFor(
      'AcceptingAlone',
      30_000,
      async () => (await stage.condition('sendingstream', 'power', 'AcceptingAlone'))?.status === 'True',
    )
    mustEqual('epoch after the loss of a standby', (await pair.primary()).epoch, first.epoch)
    await faults.powerOn(second.node)
    await pair.inSync()

    // 2. The primary's node, and then the node of its heir: the one that returned has all that it missed.
    const failOver = async (lost: Reign): Promise<{ readonly heir: Reign; readonly gap: Gap }> => {
      const toldBefore = await failoversTold(stage)
      const offAt = Date.now()
      await faults.powerOff(lost.node)
      const heir = await pair.heirOf(lost)
      const gap = await pair.gap(probe, heir, offAt)
      await faults.powerOn(lost.node)
      await pair.inSync()
      // The operator that leads may have gone with the node, and tells when another one leads; of two failovers in its absence it would tell the last.
      await stage.waitFor(`an Event that tells of ${heir.name}`, 60_000, async () => (await failoversTold(stage)) > toldBefore)
      return { heir, gap }
    }
    const there = await failOver(first)
    const back = await failOver(there.heir)

    await stage.ready('sendingstream', 'power', 60_000)
    mustEqual('Events that tell of a failover', await failoversTold(stage), 2)
    const counts = await pair.mustHaveArrived(2)
    await pair.mustHaveSentInTurn(first, there.heir, back.heir)
    must(aloneMillis <= REMOVED_WITHIN_MILLIS, `the primary must go on alone within ${REMOVED_WITHIN_MILLIS} ms, took ${aloneMillis} ms`)
    for (const { acceptedMillis, deliveredMillis } of [there.gap, back.gap]) {
      const last = Math.max(acceptedMillis, deliveredMillis)
      must(
        last <= TAKEN_OVER_WITHIN_MILLIS,
        `the heir must accept and deliver within ${TAKEN_OVER_WITHIN_MILLIS} ms, took ${acceptedMillis} ms and ${deliveredMillis} ms`,
      )
    }
    return {
      ...counts,
      aloneMillis,
      ...there.gap,
      backAcceptedMillis: back.gap.acceptedMillis,
      backDeliveredMillis: back.gap.deliveredMillis,
    }
  },
}

async function failoversTold(stage: Stage): Promise<number> {
  return (await eventsOf(stage, 'power')).filter((reason) => reason === 'FailedOver').length
}
