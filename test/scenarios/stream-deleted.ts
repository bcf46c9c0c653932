import { PLAIN, TEMPFAIL } from './internet.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'stream-deleted',
  promise: 'deleting a stream with mail queued keeps that mail on its volume for a stream of the same name; HoldAndDrain delivers it first',
  needs: 'local',
  async run(stage) {
    await stage.deploy('deleted', { nodes: [2] })
    await stage.internet.behave('plain', TEMPFAIL)
    const first = await (await stage.load('deleted', { count: 300, connections: 4, domains: ['plain.example'] })).finished()
    await stage.kubectl('delete', 'sendingstream', 'deleted', '--timeout=90s')
    mustEqual('instances left', (await stage.instances('deleted')).length, 0)
    const claim = await stage.read<{ status: { phase: string } }>('persistentvolumeclaim', 'deleted-0-a-queue')
    mustEqual('the claim of the queue', claim.status.phase, 'Bound')
    const events = await stage.kubectl('get', 'events', '-o', 'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}')
    must(/300 messages?/.test(events), 'an Event must say that 300 messages were left')

    await stage.deploy('deleted', { nodes: [2] })
    await stage.internet.behave('plain', PLAIN)
    const verdict = await stage.allArrived('deleted', first)
    mustEqual('duplicates', verdict.duplicated, 0)

    await stage.internet.behave('plain', TEMPFAIL)
    const second = await (await stage.load('deleted', { count: 300, connections: 4, domains: ['plain.example'] })).finished()
    await stage.kubectl('patch', 'sendingstream', 'deleted', '--type=merge', '-p', '{"spec":{"stopPolicy":"HoldAndDrain"}}')
    await stage.kubectl('delete', 'sendingstream', 'deleted', '--wait=false')
    await stage.waitFor(
      'mode Drain',
      30_000,
      async () => (await stage.read<{ spec: { mode: string } }>('mtainstance', 'deleted-0-a')).spec.mode === 'Drain',
    )
    must((await stage.instances('deleted')).length === 1, 'the instance must stay while its queue is not empty')
    await stage.internet.behave('plain', PLAIN)
    await stage.waitFor(
      'the stream to be gone',
      120_000,
      async () => (await stage.kubectl('get', 'sendingstream', '-o', 'name')).trim() === '',
    )
    const drained = await stage.allArrived('deleted', second)
    return { kept: first.accepted.length, keptArrived: verdict.arrived, drained: second.accepted.length, drainedArrived: drained.arrived }
  },
}
