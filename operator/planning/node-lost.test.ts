import { expect, test } from 'vitest'
import { agentsFollow, applyChanges, fleet, NAMESPACE, named, podsRun, pool, stream, surroundings } from '#test/builders/fleet.ts'
import { planOnce, settle } from '#test/builders/settle.ts'
import type { FleetSnapshot } from './snapshot.ts'

/** The steps of docs/node-lost.md, one after the other, and what the operator makes of each. */

const nodes = { node1: ['192.0.2.11'], node2: ['192.0.2.21'] }
const well = settle(fleet({ ...surroundings('node1', 'node2'), streams: [stream('mail')], pools: [pool('mail', nodes)] }))

/** The Node is deleted, and the cluster takes its Pods away; the agent had not yet followed a change of the spec. */
const lost: FleetSnapshot = {
  ...well,
  nodes: well.nodes.filter(({ metadata }) => metadata.name !== 'node1'),
  pods: [],
  instances: well.instances.map((one) => ({ ...one, metadata: { ...one.metadata, generation: (one.metadata.generation ?? 1) + 1 } })),
}
const silent = (snapshot: FleetSnapshot): FleetSnapshot => snapshot
const follows = (snapshot: FleetSnapshot): FleetSnapshot => agentsFollow(podsRun(snapshot))

const ref = { apiVersion: '', namespace: NAMESPACE, uid: '' }
const withoutInstance = (snapshot: FleetSnapshot): FleetSnapshot =>
  applyChanges(snapshot, [{ kind: 'delete', ref: { ...ref, kind: 'MTAInstance', name: 'mail-0-a' } }])
const withoutClaim = (snapshot: FleetSnapshot): FleetSnapshot => ({ ...snapshot, claims: [] })

const whereIs = (snapshot: FleetSnapshot) => {
  const { spec } = named(snapshot.instances, 'mail-0-a')
  return [spec.nodeName, ...spec.addresses.map(({ address }) => address)]
}

test('an instance stays with its lost node until somebody decides: its mail may come back', () => {
  expect(whereIs(settle(lost, silent))).toEqual(['node1', '192.0.2.11'])
  expect(whereIs(settle(withoutClaim(lost), silent))).toEqual(['node1', '192.0.2.11'])
})

test('deleted while its claim stays, it comes back to where its mail is', () => {
  const again = settle(withoutInstance(lost), silent)
  expect([named(again.instances, 'mail-0-a').spec.nodeName, again.pods]).toEqual(['node1', []])
})

test.each([
  ['the claim, then the instance', (snapshot: FleetSnapshot) => withoutInstance(settle(withoutClaim(snapshot), silent))],
  ['the instance, then the claim', (snapshot: FleetSnapshot) => withoutClaim(settle(withoutInstance(snapshot), silent))],
])('with both deleted (%s), a new one serves on another node of the pool', (_, give) => {
  const again = settle(give(lost), follows)
  expect(whereIs(again)).toEqual(['node2', '192.0.2.21'])
  expect(again.pods.map(({ spec }) => spec?.nodeName)).toEqual(['node2'])
  expect(planOnce(again).writes).toBe(0)
})
