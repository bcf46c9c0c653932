import { openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

/** What a busy machine does to a single message; a failover takes longer. */
const NO_PAUSE_MILLIS = 4000

export const scenario = frozenFor({ name: 'pair-api-frozen', minutes: 1, occasion: 'always' })
export const longScenario = frozenFor({ name: 'pair-api-frozen-10-min', minutes: 10, occasion: 'byName' })

function frozenFor({ name, minutes, occasion }: Required<Pick<Scenario, 'name' | 'occasion'>> & { readonly minutes: number }): Scenario {
  return {
    name,
    promise: `the API server hangs for ${minutes === 1 ? 'a minute' : `${minutes} minutes`}, its connections open: the pair accepts and delivers without a pause, and nobody takes over`,
    needs: 'local',
    occasion,
    async run(stage) {
      const faults = stage.localFaults()
      const pair = await openPair(stage, 'frozen')
      const [first, pods] = [await pair.primary(), await stage.podIdentities('frozen')]
      const load = await pair.load({ perSecond: 20 })
      const probe = await pair.probe()
      await load.accepted(100)
      const frozenAt = Date.now()
      faults.freezeApiServer()
      try {
        await stage.pass(minutes * 60)
      } finally {
        faults.thawApiServer()
      }
      const acceptPauseMillis = pair.longestPause(probe, frozenAt)
      const deliverPauseMillis = await pair.longestDeliveryPause(frozenAt)
      // What all have put off until the API server is back must not shake the pair either.
      await stage.pass(10)
      await pair.inSync()
      const counts = await pair.mustHaveArrived(0)
      await pair.mustHaveSentInTurn(first)
      mustEqual('epoch', (await pair.primary()).epoch, first.epoch)
      mustEqual('Pods and restarts', await stage.podIdentities('frozen'), pods)
      must(acceptPauseMillis <= NO_PAUSE_MILLIS, `a new client must be served without a pause, waited ${acceptPauseMillis} ms`)
      must(deliverPauseMillis <= NO_PAUSE_MILLIS, `mail must be delivered without a pause, there was one of ${deliverPauseMillis} ms`)
      return { ...counts, frozenSeconds: minutes * 60, acceptPauseMillis, deliverPauseMillis }
    },
  }
}
