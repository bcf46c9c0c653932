import { mustEqual, type Scenario } from './scenario.ts'

const OUTAGE_SECONDS = Number(process.env['MTAFLEET_API_OUTAGE_SECONDS'] ?? 120)

export const scenario: Scenario = {
  name: 'api-server-down',
  promise: 'the API server is gone for two minutes: mail is accepted and delivered all the while, and nothing restarts',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    await stage.deploy('headless', { nodes: [1] })
    const podsBefore = await stage.podIdentities('headless')
    const perSecond = 40
    const load = await stage.load('headless', {
      count: OUTAGE_SECONDS * perSecond + 400,
      connections: 4,
      perSecond,
      domains: ['plain.example', 'starttls.example'],
    })
    await load.accepted(100)
    await faults.stopApiServer()
    let arrivedMeanwhile = 0
    try {
      const before = (await stage.internet.arrivals()).length
      const acceptedBefore = load.acceptedCount()
      await stage.pass(OUTAGE_SECONDS)
      arrivedMeanwhile = (await stage.internet.arrivals()).length - before
      mustEqual('mail accepted during the outage', load.acceptedCount() - acceptedBefore > OUTAGE_SECONDS * perSecond * 0.8, true)
      mustEqual('mail arrived during the outage', arrivedMeanwhile > OUTAGE_SECONDS * perSecond * 0.8, true)
    } finally {
      await faults.startApiServer()
    }
    await stage.ready('sendingstream', 'headless', 90_000)
    const report = await load.finished()
    const verdict = await stage.allArrived('headless', report)
    mustEqual('refusals seen by the client', report.progress.deferred, 0)
    mustEqual('duplicates', verdict.duplicated, 0)
    mustEqual('Pods and restarts', await stage.podIdentities('headless'), podsBefore)
    return { outageSeconds: OUTAGE_SECONDS, accepted: report.accepted.length, arrived: verdict.arrived, arrivedMeanwhile }
  },
}
