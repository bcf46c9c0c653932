import { mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'spec-change-under-load',
  promise: 'limits, routes and the retry ladder change without a restart, image and resources with one, and no message is lost either way',
  needs: 'local',
  async run(stage) {
    await stage.deploy('changing', { nodes: [1] })
    const before = await stage.podIdentities('changing')
    const load = await stage.load('changing', {
      count: 4000,
      connections: 6,
      perSecond: 120,
      domains: ['plain.example', 'starttls.example'],
    })
    await load.accepted(300)
    const live = {
      spec: {
        delivery: { maxConnectionsPerDestination: 3, maxMessagesPerConnection: 20 },
        queue: { retrySeconds: [3, 6] },
        submission: { maxRecipients: 123 },
        routes: [{ domain: 'routed.example', nextHop: { host: stage.internet.plainAddress, port: 25 } }],
      },
    }
    await stage.kubectl('patch', 'sendingstream', 'changing', '--type=merge', '-p', JSON.stringify(live))
    await stage.agentFollows('changing-0-a', 60_000)
    mustEqual('Pods after a change of limits', await stage.podIdentities('changing'), before)

    await load.accepted(1500)
    const image = await stage.otherImage()
    await stage.kubectl('patch', 'sendingstream', 'changing', '--type=merge', '-p', JSON.stringify({ spec: { agent: { image } } }))
    await stage.waitFor('a Pod of the other image to be Ready', 120_000, async () => {
      const [pod] = await stage.pods('changing')
      return pod?.spec.containers[0]?.image === image && pod.status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True')
    })
    await stage.ready('sendingstream', 'changing', 60_000)
    const report = await load.finished()
    const verdict = await stage.allArrived('changing', report)
    mustEqual('duplicates', verdict.duplicated, 0)
    return { accepted: report.accepted.length, arrived: verdict.arrived, duplicated: verdict.duplicated }
  },
}
