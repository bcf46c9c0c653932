import { must, mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'operator-killed',
  promise: 'the leading operator dies in the middle of a change: mail flows on, and the other replica finishes the change',
  needs: 'local',
  async run(stage) {
    await stage.deploy('leaderless', { nodes: [1] })
    const restartsBefore = await stage.restarts('leaderless')
    const load = await stage.load('leaderless', { count: 2000, connections: 4, perSecond: 100, domains: ['plain.example'] })
    await load.accepted(200)
    const leader = await stage.operatorLeader()
    const killed = performance.now()
    await stage.killPod(stage.operatorNamespace, leader.pod, 'SIGKILL')
    await stage.kubectl(
      'patch',
      'sendingstream',
      'leaderless',
      '--type=merge',
      '-p',
      '{"spec":{"delivery":{"maxMessagesPerConnection":7}}}',
    )
    await stage.waitFor('the other replica to carry the change out', 90_000, async () => {
      const instance = await stage.read<{ spec: { delivery: { maxMessagesPerConnection: number } } }>('mtainstance', 'leaderless-0-a')
      return instance.spec.delivery.maxMessagesPerConnection === 7
    })
    const takeoverMillis = Math.round(performance.now() - killed)
    const successor = await stage.operatorLeader()
    must(successor.identity !== leader.identity, `another incarnation must lead after ${leader.identity} was killed`)
    const report = await load.finished()
    const verdict = await stage.allArrived('leaderless', report)
    mustEqual('refusals seen by the client', report.progress.deferred, 0)
    mustEqual('duplicates', verdict.duplicated, 0)
    mustEqual('restarts of the agent', (await stage.restarts('leaderless')) - restartsBefore, 0)
    return { accepted: report.accepted.length, arrived: verdict.arrived, takeoverMillis }
  },
}
