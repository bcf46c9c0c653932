import { PLAIN, TEMPFAIL } from './internet.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'node-power-cut',
  promise: 'a node that loses power takes no acknowledged message with it: status says so, and mail goes on when the node is back',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    await stage.deploy('powerless', { nodes: [2] })
    await stage.internet.behave('plain', TEMPFAIL)
    const load = await stage.load('powerless', {
      count: 1500,
      connections: 6,
      perSecond: 150,
      domains: ['plain.example', 'starttls.example'],
    })
    await load.accepted(500)
    await faults.powerOff(2)
    const cut = performance.now()
    await stage.waitFor('Ready=Unknown with reason NodeUnreachable', 90_000, async () => {
      const ready = await stage.condition('mtainstance', 'powerless-0-a', 'Ready')
      return ready?.status === 'Unknown' && ready.reason === 'NodeUnreachable'
    })
    const noticedMillis = Math.round(performance.now() - cut)
    await stage.internet.behave('plain', PLAIN)
    await faults.powerOn(2)
    const on = performance.now()
    await stage.ready('sendingstream', 'powerless', 180_000)
    const readyAgainMillis = Math.round(performance.now() - on)
    const report = await load.finished()
    mustEqual('accepted', report.accepted.length, 1500)
    const verdict = await stage.allArrived('powerless', report)
    must(verdict.duplicated <= 40, `at most the 40 in flight may arrive twice, were ${verdict.duplicated}`)
    return { accepted: report.accepted.length, arrived: verdict.arrived, duplicated: verdict.duplicated, noticedMillis, readyAgainMillis }
  },
}
