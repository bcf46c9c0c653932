import { describe, expect, test } from 'vitest'
import type { Condition } from '#crds/meta.ts'
import { applyChanges, fleet, named, node, NOW, pool, stream, surroundings } from '#test/builders/fleet.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import { copyOf, pairsFollow, recordOf, setRecord, withStandbys } from '#test/builders/standbys.ts'
import { planStream } from '../plan-stream.ts'
import type { FleetSnapshot, Node } from '../snapshot.ts'

const NODES = ['node1', 'node2', 'node3'] as const
const nodeOf = (index: number, options: Parameters<typeof node>[1] = {}): Node =>
  node(NODES[index]!, { address: `203.0.113.1${index + 1}`, ...options })
const nodes = [nodeOf(0), nodeOf(1), nodeOf(2)]
const start = (failover: Parameters<typeof withStandbys>[2] = {}): FleetSnapshot =>
  fleet({
    ...surroundings(...NODES),
    nodes,
    streams: [withStandbys(stream('mail'), 1, failover)],
    pools: [pool('mail', { node1: ['192.0.2.11'], node2: ['192.0.2.21'], node3: ['192.0.2.31'] })],
  })
const pair = settle(start(), pairsFollow)
const setNode = (before: FleetSnapshot, changed: Node): FleetSnapshot => ({
  ...before,
  nodes: before.nodes.map((one) => (one.metadata.name === changed.metadata.name ? changed : one)),
})
const annotations = ({ instances }: FleetSnapshot, name: string) => named(instances, name).metadata.annotations ?? {}
const least = ({ disruptionBudgets }: FleetSnapshot) =>
  (named(disruptionBudgets, 'mail-0-agent')['spec'] as { minAvailable: number }).minAvailable
const handOver = (before: FleetSnapshot): FleetSnapshot => {
  const asked = Number(annotations(before, 'mail-0-a')['mtafleet.io/switchover'])
  const { epoch } = recordOf(before, 'mail-0')
  return asked === epoch ? setRecord(before, 'mail-0', { holder: { instance: 'mail-0-b', incarnation: 'x' }, epoch: epoch + 1 }) : before
}

describe('a node that is emptied', () => {
  const cordoned = setNode(pair, nodeOf(0, { cordoned: true }))

  test('has its primary hand over, and no Pod of the shard evicted before that', () => {
    const { fleet: asked, said } = planOnce(pairsFollow(cordoned))
    expect(annotations(asked, 'mail-0-a')).toEqual({ 'mtafleet.io/switchover': '1' })
    expect(said).toContain('SwitchoverAsked: mail-0-a shall hand over, which ends epoch 1')
    expect([least(pair), least(asked)]).toEqual([1, 2])
    const after = settle(handOver(asked), pairsFollow)
    expect([recordOf(after, 'mail-0').epoch, least(after)]).toEqual([2, 1])
  })

  test('is waited on while there is nobody to hand over to', () => {
    const alone = setRecord(cordoned, 'mail-0', { inSync: [copyOf('mail-0-a')] })
    expect(annotations(planOnce(alone).fleet, 'mail-0-a')).toEqual({})
    const bothCordoned = setNode(cordoned, nodeOf(1, { cordoned: true }))
    expect(annotations(planOnce(pairsFollow(bothCordoned)).fleet, 'mail-0-a')).toEqual({})
  })
})

describe('a full volume', () => {
  type Said = { readonly full: 'True' | 'False'; readonly lastFailover?: ReturnType<typeof since> }
  const since = (at: string) => ({ reason: 'Switchover' as const, at, durationMillis: 400 })
  /** What agents say of their volumes, and how the primary became one. */
  const say = (before: FleetSnapshot, names: Readonly<Record<string, Said>>): FleetSnapshot => ({
    ...before,
    instances: before.instances.map((one) => {
      const { full, lastFailover } = names[one.metadata.name] ?? { full: 'False' as const }
      const storage = {
        type: 'StorageAvailable',
        status: full === 'True' ? 'False' : 'True',
        reason: 'x',
        message: '',
        lastTransitionTime: '',
      }
      const { replication, ...agent } = one.status!.agent!
      return {
        ...one,
        status: {
          ...one.status,
          conditions: [...one.status!.conditions!.filter(({ type }) => type !== 'StorageAvailable'), storage as Condition],
          agent: { ...agent, replication: { ...replication!, ...(lastFailover && { lastFailover }) } },
        },
      }
    }),
  })
  const asked = (names: Readonly<Record<string, Said>>) => annotations(planOnce(say(pairsFollow(pair), names)).fleet, 'mail-0-a')

  test.each<[string, Readonly<Record<string, Said>>, object]>([
    ['has its primary hand over to one that has room', { 'mail-0-a': { full: 'True' } }, { 'mtafleet.io/switchover': '1' }],
    ['is no reason while the standby is full too', { 'mail-0-a': { full: 'True' }, 'mail-0-b': { full: 'True' } }, {}],
    ['of a standby is none either', { 'mail-0-b': { full: 'True' } }, {}],
    [
      'is none for one that has just taken over, so that nearly full ones do not take turns',
      { 'mail-0-a': { full: 'True', lastFailover: since('2026-05-04T09:55:00Z') } },
      {},
    ],
    [
      'is one again when ten minutes have passed',
      { 'mail-0-a': { full: 'True', lastFailover: since('2026-05-04T09:50:00Z') } },
      { 'mtafleet.io/switchover': '1' },
    ],
  ])('%s', (_, names, annotation) => expect(asked(names)).toEqual(annotation))

  test('is looked at again when the ten minutes are over, for nothing else may happen until then', () => {
    const recheck = (names: Readonly<Record<string, Said>>) =>
      planStream(say(pairsFollow(pair), names), { namespace: 'mail', name: 'mail' }, NOW)?.recheckAfter
    const lastFailover = since('2026-05-04T09:55:00Z')
    expect([
      recheck({ 'mail-0-a': { full: 'True', lastFailover } }),
      recheck({ 'mail-0-a': { full: 'False', lastFailover } }),
      recheck({ 'mail-0-a': { full: 'True' } }),
    ]).toEqual([300_000, undefined, undefined])
  })
})

test('another image: the standby first, then the primary hands over, then its Pod', () => {
  const steps: string[] = []
  const settled = settle({ ...pair, settings: { ...pair.settings, agentImage: 'mtafleet:2' } }, (before) => {
    const after = pairsFollow(handOver(before))
    const images = after.pods.map(({ metadata, spec }) => `${metadata.name}=${spec?.containers?.[0]?.image?.split(':')[1]}`).toSorted()
    const now = `${images.join(' ')} led by ${recordOf(after, 'mail-0').holder.instance}`
    if (steps.at(-1) !== now) steps.push(now)
    return after
  })
  expect(steps).toEqual([
    'mail-0-a=1 mail-0-b=1 led by mail-0-a',
    'mail-0-a=1 led by mail-0-a',
    'mail-0-a=1 mail-0-b=2 led by mail-0-a',
    'mail-0-a=1 mail-0-b=2 led by mail-0-b',
    'mail-0-b=2 led by mail-0-b',
    'mail-0-a=2 mail-0-b=2 led by mail-0-b',
  ])
  expect(planOnce(pairsFollow(settled)).writes).toBe(0)
})

describe('a lost standby', () => {
  const lost = (failover: Parameters<typeof withStandbys>[2], since: string) =>
    setNode(settle(start(failover), pairsFollow), nodeOf(1, { ready: 'Unknown', since }))
  const names = ({ instances }: FleetSnapshot) => instances.map(({ metadata, spec }) => `${metadata.name} on ${spec.nodeName}`).toSorted()

  test('is waited for by default', () => {
    expect(names(settle(lost({}, '2026-05-04T08:00:00Z'), pairsFollow))).toEqual(['mail-0-a on node1', 'mail-0-b on node2'])
  })

  test('is replaced after five minutes where the stream says so; its volume stays', () => {
    const replaced = settle(lost({ nodeLossPolicy: 'Replace' }, '2026-05-04T09:55:00Z'), pairsFollow)
    expect(names(replaced)).toEqual(['mail-0-a on node1', 'mail-0-c on node3'])
    expect(replaced.claims.map(({ metadata }) => metadata.name)).toContain('mail-0-b-queue')
  })

  test('has five minutes, and the plan comes back when they are over', () => {
    const waiting = settle(lost({ nodeLossPolicy: 'Replace' }, '2026-05-04T09:56:00Z'), pairsFollow)
    expect(names(waiting)).toEqual(['mail-0-a on node1', 'mail-0-b on node2'])
    expect(planStream(pairsFollow(waiting), { namespace: 'mail', name: 'mail' }, NOW)?.recheckAfter).toBe(60_000)
  })

  test('is not given up while its copy is in the set or the primary does not work', () => {
    const inSet = lost({ nodeLossPolicy: 'Replace' }, '2026-05-04T08:00:00Z')
    const without = { ...setRecord(inSet, 'mail-0', { inSync: [copyOf('mail-0-a')] }), pods: [] }
    for (const snapshot of [inSet, without]) expect(names(planOnce(snapshot).fleet)).toEqual(['mail-0-a on node1', 'mail-0-b on node2'])
  })
})

describe('a promotion by force', () => {
  /** The primary's node is gone for good, and the standby had left the set. */
  const down = setNode(setRecord(pair, 'mail-0', { inSync: [copyOf('mail-0-a')] }), nodeOf(0, { ready: 'Unknown' }))
  const version = named(down.leases, 'mail-0').metadata.resourceVersion
  const ask = (before: FleetSnapshot, text: string): FleetSnapshot => ({
    ...before,
    instances: before.instances.map((one) =>
      one.metadata.name === 'mail-0-b' ? { ...one, metadata: { ...one.metadata, annotations: { 'mtafleet.io/promote': text } } } : one,
    ),
  })
  const verdict = (before: FleetSnapshot) => {
    const { fleet: after, said } = planOnce(before)
    const message = named(after.instances, 'mail-0-b').status?.conditions?.find(({ type }) => type === 'FailoverPossible')?.message
    return {
      granted: annotations(after, 'mail-0-b')['mtafleet.io/promote-granted'],
      said: said.filter((one) => one.startsWith('PromotionForced')).length,
      refused: message?.split('promotion refused: ')[1],
    }
  }

  test('is passed on when nothing that is seen speaks against it, with a warning, once', () => {
    expect(verdict(ask(down, `${version} incomplete`))).toEqual({ granted: `${version} incomplete`, said: 1, refused: undefined })
    const plan = planStream(ask(down, `${version}`), { namespace: 'mail', name: 'mail' }, NOW)
    const granted = applyChanges(ask(down, `${version}`), plan?.changes ?? [])
    expect(planStream(granted, { namespace: 'mail', name: 'mail' }, NOW)?.events.map(({ reason }) => reason)).not.toContain(
      'PromotionForced',
    )
  })

  test.each<[string, FleetSnapshot, string]>([
    ['it names an older record', ask(down, '1'), `the annotation must name resourceVersion ${version} of the record, named 1`],
    ['it names none', ask(down, 'now'), 'the annotation must be RESOURCEVERSION or "RESOURCEVERSION incomplete", was "now"'],
    [
      'the primary is seen running',
      ask(setNode(down, nodeOf(0)), `${version}`),
      "'mail-0-a', whose copy is in the set, must be down, but its Pod is seen running",
    ],
  ])('is refused when %s', (_, snapshot, because) => expect(verdict(snapshot)).toEqual({ granted: undefined, said: 0, refused: because }))
})
