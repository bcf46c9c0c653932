import { openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

/** Longer than every timer of the pair. */
const CUT_SECONDS = 15
const REMOVED_WITHIN_MILLIS = 10_000
const TAKEN_OVER_WITHIN_MILLIS = 20_000
/** What a busy machine does to a single message; a failover takes longer. */
const NO_PAUSE_MILLIS = 4000

export const scenario: Scenario = {
  name: 'pair-cuts',
  promise:
    'the primary loses the API server: nothing happens; its standby: it goes on alone; both: the standby takes over; and never do two send',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    const pair = await openPair(stage, 'cuts')
    const [first, second] = [await pair.primary(), await pair.standby()]
    const load = await pair.load()
    const probe = await pair.probe()
    await load.accepted(200)

    // 1. From the API server alone: rights come from the standby, and nothing needs a write.
    const apiLostAt = Date.now()
    await faults.cutFromApi(first.node)
    await stage.pass(CUT_SECONDS)
    await faults.healFromApi(first.node)
    const apiPauseMillis = pair.longestPause(probe, apiLostAt)
    mustEqual('epoch after a cut from the API server', (await pair.primary()).epoch, first.epoch)

    // 2. From each other alone: the primary's removal comes before the standby's claim.
    const linkLostAt = Date.now()
    await faults.cutBetween(first.node, second.node)
    const aloneMillis = (await pair.aloneSince()) - linkLostAt
    await stage.pass(CUT_SECONDS - aloneMillis / 1000)
    const linkPauseMillis = pair.longestPause(probe, linkLostAt)
    mustEqual('epoch after a cut from each other', (await pair.primary()).epoch, first.epoch)
    await faults.healBetween(first.node, second.node)
    await pair.inSync()

    // 3. From both: it cannot know whether it was replaced, so it stops; and it was.
    const bothLostAt = Date.now()
    await faults.cutBetween(first.node, second.node)
    await faults.cutFromApi(first.node)
    const heir = await pair.heirOf(first)
    const gap = await pair.gap(probe, heir, bothLostAt)
    await stage.pass(CUT_SECONDS - gap.acceptedMillis / 1000)
    await faults.healFromApi(first.node)
    await faults.healBetween(first.node, second.node)
    await pair.inSync()

    const counts = await pair.mustHaveArrived(1)
    await pair.mustHaveSentInTurn(first, heir)
    must(heir.name === second.name, `the standby ${second.name} must take over, ${heir.name} did`)
    must(apiPauseMillis <= NO_PAUSE_MILLIS, `without the API server mail must flow, paused for ${apiPauseMillis} ms`)
    must(aloneMillis <= REMOVED_WITHIN_MILLIS, `the primary must go on alone within ${REMOVED_WITHIN_MILLIS} ms, took ${aloneMillis} ms`)
    must(
      gap.acceptedMillis <= TAKEN_OVER_WITHIN_MILLIS,
      `a new client must be served within ${TAKEN_OVER_WITHIN_MILLIS} ms, took ${gap.acceptedMillis} ms`,
    )
    return { ...counts, apiPauseMillis, aloneMillis, linkPauseMillis, ...gap }
  },
}
