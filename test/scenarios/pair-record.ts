import { openStuckPage } from './page.ts'
import { conditionIs, longestPause, replicationOf } from './pair-looks.ts'
import { openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** A primary that nothing troubles looks at its record once a minute. */
const NOTICED_WITHIN_MILLIS = 90_000
/** A promise, the claim, and what a busy machine adds. */
const LEADS_WITHIN_MILLIS = 30_000
const FINALIZER = 'mtafleet.io/record'

export const scenario: Scenario = {
  name: 'pair-record',
  promise:
    'a record that somebody edits or deletes stops the pair, with the reason in a condition; put right, or written anew as the page says, it goes on, and nothing accepted is lost',
  needs: 'local',
  async run(stage) {
    const pair = await openPair(stage, 'bulk')
    const first = await pair.primary()
    const second = await pair.standby()
    const page = (await openStuckPage(stage))(first.name, second.name)
    const load = await pair.load({ perSecond: 40 })
    const probe = await pair.probe()
    await load.accepted(200)
    const beganAt = Date.now()

    // 1. An epoch that is over. Who leads stops when it looks, and nobody leads.
    await setRecord(stage, { spec: { leaseTransitions: first.epoch - 1 } })
    await stopped(stage, 'RecordWentBack', [first.name, second.name])
    // 2. And a set that nobody can read, which is seen at once.
    const { 'mtafleet.io/in-sync': set } = (await readLease(stage)).metadata.annotations
    await setRecord(stage, { metadata: { annotations: { 'mtafleet.io/in-sync': 'bulk-0-a' } } })
    await stopped(stage, 'RecordUnreadable', [first.name, second.name])

    // 3. What stood there stands there again: one of them leads, by itself.
    const rightAt = Date.now()
    await setRecord(stage, { metadata: { annotations: { 'mtafleet.io/in-sync': set } }, spec: { leaseTransitions: first.epoch } })
    const again = await pair.heirOf(first, LEADS_WITHIN_MILLIS)
    const mended = await pair.gap(probe, again, rightAt)
    await pair.inSync()
    await conditionIs(stage, 'sendingstream/bulk', 'Stalled', { status: 'False' })

    // 4. Nobody takes the finalizer off while it is in use. Deleted, as the page says, while mail is accepted.
    await stage.kubectl('patch', 'lease', 'bulk-0', '--type=merge', '-p', '{"metadata":{"finalizers":null}}')
    await finalizerIsBack(stage)
    await page('The record was edited')
    await stopped(stage, 'RecordMissing', [first.name, second.name])
    mustEqual('whether the operator makes it again by itself', await stage.kubectl('get', 'lease', '-o', 'name'), '')

    // 5. Written anew, as the page says, from what the page shows.
    const shown = await page('The record is gone')
    const newest = newestOf(shown)
    const writtenAt = Date.now()
    await page('The record is gone', {
      block: 1,
      fillIn: { INSTANCE: newest.name, COPYID: newest.copyId, INCARNATION: newest.incarnation, EPOCH: String(newest.above) },
    })
    const last = await pair.heirOf({ ...again, epoch: newest.above }, LEADS_WITHIN_MILLIS)
    const anew = await pair.gap(probe, last, writtenAt)
    mustEqual('who leads', last.name, newest.name)
    await pair.inSync()
    await conditionIs(stage, 'sendingstream/bulk', 'Stalled', { status: 'False' })
    await finalizerIsBack(stage)

    const { millis } = longestPause(probe.soFar(), beganAt)
    const counts = await pair.mustHaveArrived(2)
    await pair.mustHaveSentInTurn(first, again, last)
    for (const { acceptedMillis } of [mended, anew])
      must(acceptedMillis < LEADS_WITHIN_MILLIS, `a new client must be served within ${LEADS_WITHIN_MILLIS} ms, took ${acceptedMillis} ms`)
    return {
      ...counts,
      mendedAcceptedMillis: mended.acceptedMillis,
      anewAcceptedMillis: anew.acceptedMillis,
      longestPauseMillis: millis,
    }
  },
}

type Lease = {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>>; readonly finalizers?: readonly string[] }
}
const readLease = (stage: Stage): Promise<Lease> => stage.read<Lease>('lease', 'bulk-0')

/** So that `kubectl delete` waits, and nobody deletes it by mistake. */
const finalizerIsBack = (stage: Stage): Promise<true> =>
  stage.waitFor(`the operator to put ${FINALIZER} on the record`, 30_000, async () => {
    return (await readLease(stage)).metadata.finalizers?.includes(FINALIZER) === true
  })

const setRecord = (stage: Stage, change: unknown): Promise<string> =>
  stage.kubectl('patch', 'lease', 'bulk-0', '--type=merge', '-p', JSON.stringify(change))

/** Waits until the stream and all its agents say why nobody leads. */
async function stopped(stage: Stage, why: string, instances: readonly string[]): Promise<void> {
  for (const name of instances) {
    await stage.waitFor(`${name} to say ${why}`, NOTICED_WITHIN_MILLIS, async () => {
      const { role, trouble } = await replicationOf(stage, name)
      if (role === 'Standby' && trouble === why) return true
      throw new Error(`it is ${role} and says ${trouble ?? 'nothing'}`)
    })
  }
  await conditionIs(stage, 'sendingstream/bulk', 'Stalled', { status: 'True', reason: why })
  await conditionIs(stage, 'sendingstream/bulk', 'Ready', { status: 'False', reason: why })
}

type Told = {
  readonly name: string
  readonly copyId: string
  readonly incarnation: string
  readonly epoch: number
  readonly lastSequence: number
}

/** As whoever reads the page chooses: the highest epoch, and of equals the highest sequence; and an epoch above all of them. */
function newestOf(shown: string): Told & { readonly above: number } {
  const told = shown
    .trim()
    .split('\n')
    .map((line): Told => {
      const at = line.indexOf(' ')
      return { ...(JSON.parse(line.slice(at + 1)) as Told), name: line.slice(0, at) }
    })
  const [newest] = told.toSorted((a, b) => b.epoch - a.epoch || b.lastSequence - a.lastSequence || (a.name < b.name ? -1 : 1))
  if (newest === undefined) throw new Error(`the page must show what each instance has, showed ${JSON.stringify(shown)}`)
  return { ...newest, above: newest.epoch + 1 }
}
