import { TEMPFAIL, PLAIN } from './internet.ts'
import { longestPause } from './pair-looks.ts'
import { openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

const DOMAIN = 'plain.example'

const rebuilt =
  (messages: number): Scenario['run'] =>
  async (stage) => {
    const pair = await openPair(stage, 'rebuilt')
    const [first, second] = [await pair.primary(), await pair.standby()]
    await stage.internet.behave('plain', TEMPFAIL)
    const filling = await stage.load('rebuilt', { count: messages, connections: 16, domains: [DOMAIN], sizeBytes: 1000 })
    const filled = await filling.finished(900_000)
    mustEqual('accepted', filled.accepted.length, messages)

    // As docs/standbys-stuck.md says: claim and Pod go, and come again on another volume.
    const probe = await pair.probe()
    await probe.accepted(5)
    const begun = Date.now()
    await stage.kubectl('delete', 'pvc', `${second.name}-queue`, '--wait=false')
    await stage.kubectl('delete', 'pod', second.name)
    await pair.aloneSince()
    await pair.inSync(600_000)
    const rebuiltMillis = Date.now() - begun
    const pause = longestPause(probe.soFar(), begun)
    mustEqual('epoch', (await pair.primary()).epoch, first.epoch)
    const queued = (await stage.queuedMessages('rebuilt')) ?? 0
    must(queued >= messages, `at least ${messages} messages must be queued when the standby is whole again, were ${queued}`)

    // What the new copy is worth: the old one goes for good.
    const faults = stage.localFaults()
    await faults.powerOff(first.node)
    const heir = await pair.heirOf(first)
    mustEqual('heir', heir.name, second.name)
    await stage.internet.behave('plain', PLAIN)
    const verdict = await stage.allArrived('rebuilt', filled, { alone: true })
    await faults.powerOn(first.node)
    await pair.inSync()
    const counts = await pair.mustHaveArrived(1)
    return { queued, rebuiltMillis, pauseMillis: pause.millis, ...counts, arrived: verdict.arrived, duplicated: verdict.duplicated }
  }

const promise = (messages: string): string =>
  `a standby whose volume is given up is rebuilt from the primary, with ${messages} messages in the queue, while the primary serves; then it takes over and delivers them all`

export const scenario: Scenario = { name: 'pair-rebuilt', promise: promise('10,000'), needs: 'local', run: rebuilt(10_000) }

export const longScenario: Scenario = {
  name: 'pair-rebuilt-100000',
  promise: promise('100,000'),
  needs: 'local',
  occasion: 'byName',
  run: rebuilt(100_000),
}
