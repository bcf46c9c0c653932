import { must, mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'standby-takes-over',
  promise:
    'the node of a primary loses power under load: its standby accepts and delivers within seconds, and no acknowledged message is lost',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    await stage.deploy('paired', { nodes: [1, 2], standbysPerPrimary: 1 })
    await stage.waitFor('the pair to be in sync', 60_000, async () => {
      const inSync = await stage.condition('sendingstream', 'paired', 'InSync')
      return inSync?.status === 'True'
    })
    const primary = await primaryOf(stage)
    const load = await stage.load('paired', {
      count: 3000,
      connections: 6,
      perSecond: 100,
      perConnection: 50,
      domains: ['plain.example', 'starttls.example'],
    })
    await load.accepted(500)
    await faults.powerOff(Number(primary.nodeName.slice('node'.length)))
    const cut = Date.now()
    const heir = await stage.waitFor('another primary', 60_000, async () => {
      const now = await primaryOf(stage).catch(() => undefined)
      return now !== undefined && now.name !== primary.name ? now : undefined
    })
    const saidMillis = Date.now() - cut
    const report = await load.finished()
    const verdict = await stage.allArrived('paired', report)
    const after = (await stage.internet.arrivals()).map((one) => Date.parse(one.at)).filter((at) => at > cut + 200)
    const deliveredMillis = Math.min(...after) - cut
    await faults.powerOn(Number(primary.nodeName.slice('node'.length)))
    await stage.ready('sendingstream', 'paired', 180_000)
    mustEqual('accepted', report.accepted.length, 3000)
    must(
      verdict.duplicated <= 540,
      `at most those in flight (40) and the marks not yet shipped (500) may arrive twice, were ${verdict.duplicated}`,
    )
    return {
      accepted: report.accepted.length,
      arrived: verdict.arrived,
      duplicated: verdict.duplicated,
      saidMillis,
      deliveredMillis,
      heir: heir.name,
    }
  },
}

async function primaryOf(stage: Parameters<Scenario['run']>[0]): Promise<{ name: string; nodeName: string }> {
  const instances = await stage.instances('paired')
  const found = instances
    .filter((one) => one.status?.agent?.replication?.role === 'Primary')
    .toSorted((a, b) => (b.status?.agent?.replication?.epoch ?? 0) - (a.status?.agent?.replication?.epoch ?? 0))[0]
  if (found?.spec.nodeName === undefined) throw new Error('no instance says that it is primary')
  return { name: found.metadata.name, nodeName: found.spec.nodeName }
}
