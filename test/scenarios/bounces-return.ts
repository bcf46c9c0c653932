import { mustEqual, type Scenario } from './scenario.ts'

const SENDER = 'load@senders.example'

export const scenario: Scenario = {
  name: 'bounces-return',
  promise:
    'what cannot be delivered comes back to its sender as one report for each message, from the null sender, and greylisted mail arrives',
  needs: 'local',
  async run(stage) {
    await stage.deploy('returns', { nodes: [1], queue: { retrySeconds: [6, 12] } })
    const hopeless = await (
      await stage.load('returns', {
        count: 60,
        connections: 3,
        domains: ['refusing.example', 'nullmx.example', 'nonexistent.example'],
        sender: SENDER,
      })
    ).finished()
    mustEqual('accepted', hopeless.accepted.length, 60)
    const reports = await stage.waitFor('60 reports', 120_000, async () => {
      const found = (await stage.internet.arrivals()).filter((one) => one.provider === 'senders')
      return found.length >= 60 && found
    })
    mustEqual('reports', reports.length, 60)
    mustEqual('envelope senders of reports', [...new Set(reports.map((one) => one.sender))], [''])
    mustEqual('recipients of reports', [...new Set(reports.flatMap((one) => one.recipients.map(({ address }) => address)))], [SENDER])

    const delayed = await (
      await stage.load('returns', { count: 60, connections: 3, domains: ['greylist.example', 'flaky.example'], sender: SENDER })
    ).finished()
    const started = performance.now()
    const verdict = await stage.allArrived('returns', delayed, { alone: true })
    mustEqual('duplicates', verdict.duplicated, 0)
    return {
      hopeless: hopeless.accepted.length,
      reports: reports.length,
      delayed: delayed.accepted.length,
      arrived: verdict.arrived,
      delayedMillis: Math.round(performance.now() - started),
    }
  },
}
