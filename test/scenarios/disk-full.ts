import { PLAIN, TEMPFAIL } from './internet.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'disk-full',
  promise: 'a full queue volume makes the agent say 452, loses nothing, and goes on by itself when there is room',
  needs: 'local',
  async run(stage) {
    await stage.deploy('full', { nodes: [3], queue: { storageClassName: 'local-ssd-small', size: '64Mi' } })
    const restartsBefore = await stage.restarts('full')
    await stage.internet.behave('plain', TEMPFAIL)
    const load = await stage.load('full', { count: 1200, connections: 6, sizeBytes: 60_000, domains: ['plain.example'] })
    await load.deferred(20)
    const refusedWith = load.progress()?.lastDeferral ?? ''
    must(refusedWith.startsWith('452 4.3.1'), `a full queue must be refused with 452 4.3.1, was ${JSON.stringify(refusedWith)}`)
    await stage.waitFor(
      'StorageAvailable=False',
      30_000,
      async () => (await stage.condition('mtainstance', 'full-0-a', 'StorageAvailable'))?.status === 'False',
    )
    const acceptedWhenFull = load.acceptedCount()
    await stage.internet.behave('plain', PLAIN)
    await stage.waitFor(
      'StorageAvailable=True',
      90_000,
      async () => (await stage.condition('mtainstance', 'full-0-a', 'StorageAvailable'))?.status === 'True',
    )
    const report = await load.finished()
    mustEqual('accepted', report.accepted.length, 1200)
    const verdict = await stage.allArrived('full', report)
    mustEqual('duplicates', verdict.duplicated, 0)
    mustEqual('restarts of the agent', (await stage.restarts('full')) - restartsBefore, 0)
    return { acceptedWhenFull, refusals: report.progress.deferred, accepted: report.accepted.length, arrived: verdict.arrived }
  },
}
