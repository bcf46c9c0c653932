import { mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'first-mail',
  promise: 'three manifests and two Secrets make a stream Ready, and mail arrives from the assigned address under its name',
  needs: 'any',
  async run(stage) {
    const started = performance.now()
    await stage.deploy('first', { nodes: [1] })
    const readyMillis = Math.round(performance.now() - started)
    for (const kind of ['ippool', 'mtainstance', 'sendingstream']) {
      await stage.kubectl('wait', '--for=condition=Ready', kind, '--all', '--timeout=30s')
    }

    const load = await stage.load('first', { count: 200, connections: 4, domains: stage.internet.friendlyDomains })
    const report = await load.finished()
    const verdict = await stage.allArrived('first', report)
    mustEqual('duplicates', verdict.duplicated, 0)
    const sources = new Set((await stage.internet.arrivals()).map((one) => one.sourceAddress))
    return { readyMillis, accepted: report.accepted.length, arrived: verdict.arrived, sources: sources.size }
  },
}
