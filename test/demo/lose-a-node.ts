import { Pair } from '#test/scenarios/pair.ts'
import type { Stage } from '#test/scenarios/stage.ts'

/** The end of the demo: the node of a primary loses power under load, and what a client, a receiver and kubectl see of it. */

export type Act = {
  readonly stage: Stage
  readonly step: (text: string) => void
  readonly say: (text: string) => void
  /** Prints what kubectl answers. */
  readonly show: (...args: string[]) => Promise<void>
}

/** A stream with one primary and one standby, as examples/03-hot-standby.yaml makes it. */
const STREAM = 'receipts'
const BEFORE_SECONDS = 8
const AFTER_SECONDS = 5

export async function loseANode({ stage, step, say, show }: Act): Promise<void> {
  const pair = new Pair(stage, STREAM, 2)
  await pair.inSync()
  const [primary, standby] = await Promise.all([pair.primary(), pair.standby()])
  step(
    `${STREAM}: ${primary.name} on node${primary.node} accepts and delivers, ${standby.name} on node${standby.node} has a copy; mail begins`,
  )
  const look = async (): Promise<void> => await show('get', 'mtainstances', '-o', 'wide', '-l', `mtafleet.io/stream=${STREAM}`)
  const load = await pair.load()
  const probe = await pair.probe()
  await probe.accepted(5 * BEFORE_SECONDS)
  await look()

  const before = load.acceptedCount() + probe.acceptedCount()
  step(`power off: node${primary.node}, after ${before} accepted messages`)
  await stage.localFaults().powerOff(primary.node)
  const offAt = Date.now()
  const heir = await pair.heirOf(primary)
  const gap = await pair.gap(probe, heir, offAt)
  step(`${heir.name} goes on, in epoch ${heir.epoch}`)
  const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`
  say(`  it claimed the queue ${seconds(gap.saidMillis)} after the power went off
  a new client had its first 250 after ${seconds(gap.acceptedMillis)}, the first message was delivered after ${seconds(gap.deliveredMillis)}`)
  await stage.pass(AFTER_SECONDS)
  await look()
  await show('get', 'nodes')

  step('accepted = arrived?')
  const { accepted, arrived, duplicated } = await pair.mustHaveArrived(1)
  await pair.mustHaveSentInTurn(primary, heir)
  say(`  ${accepted} accepted (${before} of them before the power went off), ${arrived} arrived, ${duplicated} of them twice;
  never did both send: ${heir.name} began its first transaction after the last of ${primary.name}`)

  step(`power on: node${primary.node}; ${primary.name} comes back as a standby`)
  await stage.localFaults().powerOn(primary.node)
  await pair.inSync(180_000)
  await look()
}
