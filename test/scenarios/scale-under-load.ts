import { mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'scale-under-load',
  promise: 'scaling 1 → 3 → 1 under load loses nothing: an instance goes only when its queue is empty, and never two send from one address',
  needs: 'local',
  async run(stage) {
    await stage.deploy('scaled', { nodes: [1, 2, 3], primaries: 1 })
    const load = await stage.load('scaled', {
      count: 6000,
      connections: 12,
      perSecond: 100,
      domains: ['plain.example', 'greylist.example'],
      perConnection: 20,
    })
    await load.accepted(300)
    await stage.kubectl('scale', 'sendingstream', 'scaled', '--replicas=3')
    await stage.waitFor('three instances Ready', 120_000, async () => (await stage.readyInstances('scaled')).length === 3)
    const owners = await stage.addressOwners('scaled')
    mustEqual(
      'addresses with two owners',
      owners.filter((one, index) => owners.findIndex((other) => other.address === one.address) !== index),
      [],
    )
    await load.accepted(3000)
    await stage.kubectl('scale', 'sendingstream', 'scaled', '--replicas=1')
    await stage.waitFor('the drained instances to be gone', 240_000, async () => (await stage.instances('scaled')).length === 1)
    await stage.ready('sendingstream', 'scaled', 60_000)
    const report = await load.finished()
    const verdict = await stage.allArrived('scaled', report)
    mustEqual('duplicates', verdict.duplicated, 0)
    const sources = new Set((await stage.internet.arrivals()).map((one) => one.sourceAddress))
    return { accepted: report.accepted.length, arrived: verdict.arrived, sources: sources.size, refusals: report.progress.deferred }
  },
}
