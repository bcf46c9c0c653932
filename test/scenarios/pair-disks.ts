import { conditionIs, lastFailover, longestPause, mustBeShort, slotOf } from './pair-looks.ts'
import { type Member, openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

/** To hear that a standby leaves, and to take it out of the set (a tick and two calls), with what a busy machine adds. */
const REMOVED_WITHIN_MILLIS = 6_000
/** While it is out, nobody waits for it. */
const UNTROUBLED_MILLIS = 2_000
/** Report, switchover on a disk that takes no mark, and the removal of a copy that cannot follow yet. */
const HANDED_OVER_WITHIN_MILLIS = 60_000
const TAKEN_OVER_WITHIN_MILLIS = 20_000

export const scenario: Scenario = {
  name: 'pair-disks',
  promise:
    'a volume that fills or fails costs the pair no acknowledged message: a standby leaves and returns, a primary hands over or is replaced, and a condition says what is wrong',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    const pair = await openPair(stage, 'disks')
    const [first, second] = [await pair.primary(), await pair.standby()]
    const slots = new Map<string, number>()
    for (const { name } of [first, second]) slots.set(name, await slotOf(stage, name))
    const volumeOf = ({ node, name }: Member) => [node, slots.get(name)!] as const
    const load = await pair.load({ perSecond: 40 })
    const probe = await pair.probe()
    await load.accepted(200)

    // 1. The standby's volume is full. It leaves, clients wait for it once, and it returns when there is room.
    const fullAt = Date.now()
    await faults.fillVolume(...volumeOf(second))
    await pair.aloneSince()
    await conditionIs(stage, `mtainstance/${second.name}`, 'StorageAvailable', { status: 'False', reason: 'VolumeFull' })
    await conditionIs(stage, `mtainstance/${second.name}`, 'InSync', { status: 'False' })
    await conditionIs(stage, 'sendingstream/disks', 'AcceptingAlone', { status: 'True' })
    // Clients that had to wait are back by then.
    await probe.accepted(probe.acceptedCount() + 5)
    const aloneAt = Date.now()
    await stage.pass(8)
    const [removal, alone] = [longestPause(probe.soFar(), fullAt, aloneAt), longestPause(probe.soFar(), aloneAt)]
    await faults.emptyVolume(...volumeOf(second))
    await pair.inSync()
    mustEqual('epoch after a full standby', (await pair.primary()).epoch, first.epoch)

    // 2. The primary's volume is full. It hands over to the one that has room.
    const primaryFullAt = Date.now()
    await faults.fillVolume(...volumeOf(first))
    const heir = await pair.heirOf(first)
    const full = await pair.gap(probe, heir, primaryFullAt)
    mustEqual('why there is another primary', (await lastFailover(stage, heir)).reason, 'Switchover')
    await conditionIs(stage, `mtainstance/${first.name}`, 'StorageAvailable', { status: 'False', reason: 'VolumeFull' })
    await faults.emptyVolume(...volumeOf(first))
    await pair.inSync()

    // 3. The standby's disk fails. Its agent ends, and cannot start again before the disk is whole.
    await faults.failVolume(...volumeOf(first))
    await pair.aloneSince()
    const standbyWords = await conditionIs(stage, `mtainstance/${first.name}`, 'PodRunning', { status: 'False' })
    await restartNode(first)
    await pair.inSync()

    // 4. The primary's disk fails.
    const failedAt = Date.now()
    await faults.failVolume(...volumeOf(heir))
    const last = await pair.heirOf(heir)
    const failed = await pair.gap(probe, last, failedAt)
    mustEqual('who leads', last.name, first.name)
    const primaryWords = await conditionIs(stage, `mtainstance/${heir.name}`, 'PodRunning', { status: 'False' })
    await restartNode(heir)
    await pair.inSync()

    const counts = await pair.mustHaveArrived(2)
    await pair.mustHaveSentInTurn(first, heir, last)
    mustBeShort('when the standby became full', removal, REMOVED_WITHIN_MILLIS)
    mustBeShort('while the standby was full', alone, UNTROUBLED_MILLIS)
    must(
      full.acceptedMillis <= HANDED_OVER_WITHIN_MILLIS,
      `a full primary must be replaced within ${HANDED_OVER_WITHIN_MILLIS} ms, took ${full.acceptedMillis}`,
    )
    must(
      failed.acceptedMillis <= TAKEN_OVER_WITHIN_MILLIS,
      `one whose disk fails within ${TAKEN_OVER_WITHIN_MILLIS} ms, took ${failed.acceptedMillis}`,
    )
    return {
      ...counts,
      fullStandbyPauseMillis: removal.millis,
      whileAlonePauseMillis: alone.millis,
      fullPrimaryAcceptedMillis: full.acceptedMillis,
      failedPrimaryAcceptedMillis: failed.acceptedMillis,
      standbyWords: `${standbyWords.reason}: ${standbyWords.message}`,
      primaryWords: `${primaryWords.reason}: ${primaryWords.message}`,
    }

    /** As the machine is when somebody has seen to its disk. */
    async function restartNode({ node }: Member): Promise<void> {
      await faults.powerOff(node)
      await faults.powerOn(node)
    }
  },
}
