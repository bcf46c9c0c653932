import { mustEqual, type Scenario } from './scenario.ts'

const IDLE_SECONDS = Number(process.env['MTAFLEET_IDLE_SECONDS'] ?? 60)

export const scenario: Scenario = {
  name: 'idle',
  promise: 'at rest operator and agents, those of a pair too, write nothing and list nothing; only the leader lease is renewed',
  needs: 'local',
  async run(stage) {
    await stage.deploy('resting', { nodes: [1, 2, 3], primaries: 3 })
    await stage.deploy('paired', { nodes: [1, 2], addressesOf: [3], standbysPerPrimary: 1 })
    for (const name of ['resting', 'paired']) {
      const report = await (await stage.load(name, { count: 60, connections: 3, domains: ['plain.example'] })).finished()
      await stage.allArrived(name, report, { alone: true })
      await stage.waitFor('the last status of the load to be written', 60_000, async () => (await stage.queuedMessages(name)) === 0)
    }
    await stage.waitFor(
      'the pair to be in sync',
      60_000,
      async () => (await stage.condition('sendingstream', 'paired', 'InSync'))?.status === 'True',
    )
    // Numbers are reported at most every 10 s: what the load left to say is said within that.
    await stage.pass(15)
    const from = Date.now()
    await stage.pass(IDLE_SECONDS)
    const requests = await stage.apiRequests(from, Date.now())
    // What other namespaces are doing meanwhile is their business; what concerns all of them is ours.
    const places = ['', stage.namespace, stage.operatorNamespace]
    const users = [`system:serviceaccount:${stage.operatorNamespace}:`, `system:serviceaccount:${stage.namespace}:`]
    const mine = requests.filter((one) => users.some((user) => one.user.startsWith(user)) && places.includes(one.namespace))
    const writes = mine.filter((one) => ['create', 'update', 'patch', 'delete', 'deletecollection'].includes(one.verb))
    const leases = writes.filter((one) => one.resource === 'leases')
    const others = writes.filter((one) => one.resource !== 'leases').map((one) => `${one.user} ${one.verb} ${one.resource} ${one.name}`)
    mustEqual('writes other than the leader lease', others, [])
    mustEqual(
      'lists',
      mine.filter((one) => one.verb === 'list').map((one) => `${one.user} ${one.resource}`),
      [],
    )
    return { idleSeconds: IDLE_SECONDS, leaseRenewals: leases.length, otherWrites: others.length }
  },
}
