import { openPair } from './pair.ts'
import { must, type Scenario } from './scenario.ts'

/** Longer than every timer of the pair, shorter than the minute after which the kubelet kills an agent that does not answer. */
const STOPPED_SECONDS = 22
/** How long the woken one is watched: what it would send, it would send at once. */
const WATCHED_SECONDS = 5
const TAKEN_OVER_WITHIN_MILLIS = 20_000

export const scenario: Scenario = {
  name: 'pair-signals',
  promise:
    'SIGKILL of the primary: it or its standby goes on, and nothing acknowledged is lost; SIGSTOP longer than every timer: when it wakes, it sends nothing',
  needs: 'local',
  async run(stage) {
    const pair = await openPair(stage, 'signals')
    const first = await pair.primary()
    const load = await pair.load()
    const probe = await pair.probe()
    await load.accepted(200)

    // Two ways back, both right (mta-agent/replication/README.md, section 5): 3.8 s where the kubelet's next process claims within the standby's promise
    // (this is its first restart, so there is no back-off, and its first quick claim), 7.3 s where the machine is too busy for that and the standby claims.
    const killedAt = Date.now()
    await stage.killAgent(first.name, 'SIGKILL')
    const second = await pair.heirOf(first)
    const killed = await pair.gap(probe, second, killedAt)
    await pair.inSync()

    const stopped = await pair.primary()
    const stoppedAt = Date.now()
    await stage.killAgent(stopped.name, 'SIGSTOP')
    const third = await pair.heirOf(stopped).finally(async () => {
      // Also when nobody took over: a stopped process must not be left behind.
      await stage.pass(Math.max(0, STOPPED_SECONDS - (Date.now() - stoppedAt) / 1000))
      await stage.killAgent(stopped.name, 'SIGCONT')
    })
    const stop = await pair.gap(probe, third, stoppedAt)
    await stage.pass(WATCHED_SECONDS)
    must(third.name !== stopped.name, 'a stopped primary must be replaced by its standby, was by itself')
    await pair.mustHaveSentInTurn(first, second, stopped, third)
    await pair.inSync()

    const counts = await pair.mustHaveArrived(2)
    await pair.mustHaveSentInTurn(first, second, stopped, third)
    for (const { acceptedMillis } of [killed, stop])
      must(
        acceptedMillis <= TAKEN_OVER_WITHIN_MILLIS,
        `a new client must be served within ${TAKEN_OVER_WITHIN_MILLIS} ms, took ${acceptedMillis} ms`,
      )
    return {
      ...counts,
      afterKill: second.name === first.name ? 'it came back' : 'its standby took over',
      killSaidMillis: killed.saidMillis,
      killAcceptedMillis: killed.acceptedMillis,
      killDeliveredMillis: killed.deliveredMillis,
      stopSaidMillis: stop.saidMillis,
      stopAcceptedMillis: stop.acceptedMillis,
      stopDeliveredMillis: stop.deliveredMillis,
      restarts: await stage.restarts('signals'),
    }
  },
}
