import { afterAll, beforeAll, expect, test } from 'vitest'
import { findCondition } from '#crds/conditions.ts'
import type { IPPool } from '#crds/ip-pool.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Client } from '#kube/client.ts'
import * as kube from '#kube/resources.ts'
import { pool, stream } from '#test/builders/manifests.ts'
import { openRunningOperator, type RunningOperator } from '#test/cluster/running-operator.ts'
import { watchFor } from '#test/support/wait.ts'
import { WATCHED } from './fleet.ts'

/** Addresses that go with the role against a real API server, with its schemas and its Pod Security. The tests follow one another. */

const NAMESPACE = 'strict'
const INSTANCE = { namespace: NAMESPACE, name: 'bulk-0-a' }
const ENFORCE = 'pod-security.kubernetes.io/enforce'
const call = { signal: new AbortController().signal }
const patience = { withinMillis: 30_000, everyMillis: 100 }

let operator: RunningOperator
let admin: Client

beforeAll(async () => {
  operator = await openRunningOperator({ namespace: NAMESPACE, namespaceLabels: { [ENFORCE]: 'baseline' }, nodes: 1 })
  admin = operator.admin
})
afterAll(async () => {
  await operator[Symbol.asyncDispose]()
})

const ready = async () => {
  const { status } = (await admin.find(WATCHED.MTAInstance, INSTANCE, call)) ?? {}
  return findCondition(status?.conditions, 'Ready')
}

test('a namespace whose Pod Security forbids it: the condition says so, and names what is forbidden', async () => {
  const addresses = [{ address: '192.0.2.11', hostName: 'mta-11.senders.example', interface: 'eth0', prefixLength: 24 }]
  await admin.create(WATCHED.IPPool, operator.here<IPPool>(pool('bulk', { addresses, attachment: 'Managed' })), call)
  await admin.create(WATCHED.SendingStream, operator.here<SendingStream>(stream('bulk')), call)
  const said = await watchFor('the refusal', async () => ((await ready())?.reason === 'Refused' ? ready() : undefined), patience)
  expect(said?.message).toContain('violates PodSecurity "baseline:latest"')
  expect(said?.message).toContain('host namespaces (hostNetwork=true)')
  expect(said?.message).toContain('container "address-holder" must not include "NET_ADMIN", "NET_RAW" in securityContext.capabilities.add')
  const owner = await admin.get(WATCHED.SendingStream, { namespace: NAMESPACE, name: 'bulk' }, call)
  expect(findCondition(owner.status?.conditions, 'Ready')).toMatchObject({ status: 'False', reason: 'Refused' })
  expect(findCondition(owner.status?.conditions, 'Stalled')?.status).toBe('True')
})

test('once it is privileged the server takes spec and Pod as they are meant', async () => {
  await admin.patch(kube.NAMESPACES, { name: NAMESPACE }, { metadata: { labels: { [ENFORCE]: 'privileged' } } }, call)
  // The operator tries again after a while; a touch makes it now.
  await admin.patch(WATCHED.MTAInstance, INSTANCE, { metadata: { annotations: { touched: 'yes' } } }, call)
  const pod = await watchFor('the Pod', () => admin.find(kube.PODS, INSTANCE, call), patience)
  const { spec } = await admin.get(WATCHED.MTAInstance, INSTANCE, call)
  expect([spec.nodeName, spec.addressAttachment, spec.addresses]).toEqual([
    'node1',
    'Managed',
    [{ address: '192.0.2.11', hostName: 'mta-11.senders.example', interface: 'eth0', prefixLength: 24 }],
  ])
  const { initContainers } = pod['spec'] as { readonly initContainers: readonly { readonly securityContext: unknown }[] }
  expect(initContainers.map(({ securityContext }) => securityContext)).toEqual([
    {
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: 65532,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
    },
  ])
})
