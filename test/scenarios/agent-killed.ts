import { must, type Scenario } from './scenario.ts'

const CONNECTIONS_PER_DESTINATION = 10

export const scenario: Scenario = {
  name: 'agent-killed',
  promise: 'SIGKILL of the agent while it accepts and delivers loses nothing acknowledged; duplicates are at most what was in flight',
  needs: 'local',
  async run(stage) {
    await stage.deploy('killed', { nodes: [1], delivery: { maxConnectionsPerDestination: CONNECTIONS_PER_DESTINATION } })
    const domains = stage.internet.friendlyDomains
    const load = await stage.load('killed', { count: 3000, connections: 8, perSecond: 150, domains })
    let kills = 0
    for (const share of [0.15, 0.4, 0.65]) {
      await load.accepted(3000 * share)
      await stage.killAgent('killed-0-a', 'SIGKILL')
      kills += 1
      await stage.agentBack('killed-0-a', 120_000)
    }
    const report = await load.finished()
    const verdict = await stage.allArrived('killed', report)
    const bound = kills * CONNECTIONS_PER_DESTINATION * domains.length
    must(verdict.duplicated <= bound, `at most ${bound} duplicates (in flight at ${kills} kills), were ${verdict.duplicated}`)
    return {
      kills,
      accepted: report.accepted.length,
      arrived: verdict.arrived,
      duplicated: verdict.duplicated,
      bound,
      ambiguous: report.progress.ambiguous,
    }
  },
}
