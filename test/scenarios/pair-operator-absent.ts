import { openPair } from './pair.ts'
import { must, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

const TAKEN_OVER_WITHIN_MILLIS = 20_000

export const scenario: Scenario = {
  name: 'pair-operator-absent',
  promise:
    'no operator runs while the node of a primary loses power: the standby takes over all the same, and the lost one follows when it is back',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    const pair = await openPair(stage, 'orphans')
    const first = await pair.primary()
    const load = await pair.load()
    const probe = await pair.probe()
    await load.accepted(200)
    const replicas = await operators(stage)
    await scaleOperators(stage, 0)
    try {
      const offAt = Date.now()
      await faults.powerOff(first.node)
      const heir = await pair.heirOf(first)
      const gap = await pair.gap(probe, heir, offAt)
      await faults.powerOn(first.node)
      // Without the operator nobody says so in the stream's status.
      await pair.inRecord()
      await scaleOperators(stage, replicas)
      await pair.inSync()
      const counts = await pair.mustHaveArrived(1)
      await pair.mustHaveSentInTurn(first, heir)
      must(
        gap.acceptedMillis <= TAKEN_OVER_WITHIN_MILLIS,
        `a new client must be served within ${TAKEN_OVER_WITHIN_MILLIS} ms, took ${gap.acceptedMillis} ms`,
      )
      return { ...counts, ...gap }
    } finally {
      await faults.powerOn(first.node)
      await scaleOperators(stage, replicas)
    }
  },
}

const DEPLOYMENT = 'deployment/mtafleet-operator'
const PODS = 'app.kubernetes.io/component=operator'

const operators = async (stage: Stage): Promise<number> =>
  Number(await stage.operatorKubectl('get', DEPLOYMENT, '-o', 'jsonpath={.spec.replicas}'))

/** Returns when so many run, and no other. */
async function scaleOperators(stage: Stage, replicas: number): Promise<void> {
  await stage.operatorKubectl('scale', DEPLOYMENT, `--replicas=${replicas}`)
  await stage.operatorKubectl('rollout', 'status', DEPLOYMENT, '--timeout=120s')
  if (replicas === 0) await stage.operatorKubectl('wait', '--for=delete', 'pods', '-l', PODS, '--timeout=120s')
}
