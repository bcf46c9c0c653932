import { describe, expect, test } from 'vitest'
import { fleet, named, node, NOW, pool, stream, surroundings } from '#test/builders/fleet.ts'
import { settle } from '#test/builders/settle.ts'
import { pairsFollow, withStandbys } from '#test/builders/standbys.ts'
import { planInstance } from '../plan-instance.ts'
import type { FleetSnapshot, SecretFacts } from '../snapshot.ts'

const DAY = 86_400_000
const pair = settle(
  fleet({
    ...surroundings('node1', 'node2'),
    nodes: [node('node1', { address: '203.0.113.11' }), node('node2', { address: '203.0.113.12' })],
    streams: [withStandbys(stream('mail'), 1)],
    pools: [pool('mail', { node1: ['192.0.2.11'], node2: ['192.0.2.21'] })],
  }),
  pairsFollow,
)
const withSecret = (name: string, change: (secret: SecretFacts) => SecretFacts | undefined): FleetSnapshot => ({
  ...pair,
  secrets: pair.secrets.flatMap((one) => (one.name === name ? (change(one) ?? []) : [one])),
})
const issued = (snapshot: FleetSnapshot, now = NOW) =>
  planInstance(snapshot, { namespace: 'mail', name: 'mail-0-a' }, now)?.changes.flatMap((change) =>
    change.kind === 'issueCertificate' ? [[change.secret.metadata.name, change.authority.metadata.name, change.dnsName]] : [],
  )
const ISSUED = [['mail-0-a-replication', 'mail-replication-ca', 'mail-0-a.mail.mail.mtafleet']]

test('every instance with a shard has a certificate before it has a Pod, and the Pod gets it', () => {
  const pod = named(pair.pods, 'mail-0-a') as unknown as { readonly spec: { readonly volumes: readonly unknown[] } }
  expect(pod.spec.volumes).toContainEqual({ name: 'replication', secret: { secretName: 'mail-0-a-replication', defaultMode: 0o440 } })
  const { pods: _, ...rest } = withSecret('mail-0-a-replication', () => undefined)
  const plan = planInstance({ ...rest, pods: [] }, { namespace: 'mail', name: 'mail-0-a' }, NOW)
  expect(plan?.changes.map(({ kind }) => kind)).toEqual(['issueCertificate'])
  expect(plan?.status?.conditions?.find(({ type }) => type === 'SecretsFound')).toMatchObject({
    status: 'False',
    reason: 'CertificateMissing',
  })
})

describe('a certificate is issued', () => {
  const certificate = (change: Partial<NonNullable<SecretFacts['certificate']>>) => (secret: SecretFacts) => ({
    ...secret,
    certificate: { ...secret.certificate!, ...change },
  })
  test.each<[string, FleetSnapshot, boolean]>([
    ['not while all is well', pair, false],
    ['when there is none', withSecret('mail-0-a-replication', () => undefined), true],
    ['when a third of its time is left', withSecret('mail-0-a-replication', certificate({ notAfter: NOW + 29 * DAY })), true],
    ['when it is for another name', withSecret('mail-0-a-replication', certificate({ dnsNames: ['mail-0-b.mail.mail.mtafleet'] })), true],
    ['when the stream has another authority', withSecret('mail-replication-ca', certificate({ authority: 'second' })), true],
    ['when the authority is in its last year', withSecret('mail-replication-ca', certificate({ notAfter: NOW + 364 * DAY })), true],
    ['not when the authority was deleted', withSecret('mail-replication-ca', () => undefined), false],
    ['when what is in the Secret is none', withSecret('mail-0-a-replication', ({ certificate: _gone, ...rest }) => rest), true],
    ['not into the Secret of somebody else', withSecret('mail-0-a-replication', ({ isOurs: _mark, ...rest }) => rest), false],
  ])('%s', (_title, snapshot, want) => expect(issued(snapshot)).toEqual(want ? ISSUED : []))
})

test('the plan comes back in time, though nothing changes', () => {
  expect(planInstance(pair, { namespace: 'mail', name: 'mail-0-a' }, NOW)?.recheckAfter).toBe(DAY / 4)
})
