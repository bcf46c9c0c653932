import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Client } from '#kube/client.ts'
import type { AnyObject } from '#kube/resources.ts'
import { type IssueChange, issueInstanceCertificate, readCertificate } from './issue-certificate.ts'

const NOW = Date.parse('2026-05-04T10:00:00Z')
const DAY = 86_400_000
const signal = new AbortController().signal

const manifest = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'mail', labels: { 'app.kubernetes.io/managed-by': 'mtafleet.io', 'mtafleet.io/stream': 'receipts' } },
})
const change = (instance: string): IssueChange => ({
  kind: 'issueCertificate',
  secret: manifest(`${instance}-replication`),
  authority: manifest('receipts-replication-ca'),
  dnsName: `${instance}.receipts.mail.mtafleet`,
})

/** Secrets by name, as an API server would keep them. */
function start(before: readonly AnyObject[] = []) {
  const secrets = new Map(before.map((secret) => [secret.metadata.name, secret]))
  const calls: string[] = []
  const put = (verb: string) => async (_: unknown, object: AnyObject) => {
    calls.push(`${verb} ${object.metadata.name}`)
    const written = { ...object, metadata: { ...object.metadata, resourceVersion: String(calls.length) } }
    secrets.set(object.metadata.name, written)
    return written
  }
  const client = {
    find: async (_: unknown, { name }: { readonly name: string }) => secrets.get(name),
    create: put('create'),
    update: put('update'),
    apply: put('apply'),
  } as unknown as Pick<Client, 'find' | 'create' | 'update' | 'apply'>
  return { secrets, calls, issue: (instance: string, wall = NOW) => issueInstanceCertificate({ client, wall }, change(instance), signal) }
}

const pem = (secret: AnyObject | undefined, key: string): string =>
  Buffer.from((secret?.['data'] as Record<string, string> | undefined)?.[key] ?? '', 'base64').toString()
const factsOf = (secret: AnyObject | undefined) => readCertificate(secret?.['data'])

test('the first instance of a stream gets its authority made, the second one has the same', async () => {
  const { secrets, calls, issue } = start()
  await issue('receipts-0-a')
  await issue('receipts-0-b')
  expect(calls).toEqual(['create receipts-replication-ca', 'apply receipts-0-a-replication', 'apply receipts-0-b-replication'])
  const [authority, a, b] = ['receipts-replication-ca', 'receipts-0-a-replication', 'receipts-0-b-replication'].map((name) =>
    secrets.get(name),
  )
  expect([factsOf(a), factsOf(b)]).toEqual(
    ['receipts-0-a', 'receipts-0-b'].map((name) => ({
      notAfter: NOW + 90 * DAY,
      dnsNames: [`${name}.receipts.mail.mtafleet`],
      authority: factsOf(authority)?.authority,
    })),
  )
  const issuer = new X509Certificate(pem(authority, 'ca.crt'))
  expect(new X509Certificate(pem(a, 'tls.crt')).verify(issuer.publicKey)).toBe(true)
  expect(pem(a, 'ca.key')).toBe('')
})

test('an authority in its last year is followed by another, and trusted beside it', async () => {
  const { secrets, issue } = start()
  await issue('receipts-0-a')
  const before = pem(secrets.get('receipts-replication-ca'), 'ca.crt')
  const nineYearsOn = NOW + 3300 * DAY
  const issued = await issue('receipts-0-a', nineYearsOn)
  const trusted = pem(secrets.get('receipts-0-a-replication'), 'ca.crt')
  expect(issued.kind).toBe('issued')
  expect(trusted.endsWith(before) && trusted.length > before.length).toBe(true)
  const newest = new X509Certificate(trusted.slice(0, trusted.length - before.length))
  expect(new X509Certificate(pem(secrets.get('receipts-0-a-replication'), 'tls.crt')).verify(newest.publicKey)).toBe(true)
})

test('an authority that cannot be read is made anew', async () => {
  const broken = { ...manifest('receipts-replication-ca'), data: { 'ca.crt': 'AAAA', 'ca.key': 'AAAA' } }
  const { calls, issue } = start([{ ...broken, metadata: { ...broken.metadata, resourceVersion: '1' } }])
  await issue('receipts-0-a')
  expect(calls).toEqual(['update receipts-replication-ca', 'apply receipts-0-a-replication'])
})

test('a Secret of somebody else is left alone', async () => {
  const { calls, issue } = start([{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'receipts-0-a-replication', namespace: 'mail' } }])
  expect([await issue('receipts-0-a'), calls]).toEqual([
    {
      kind: 'foreign',
      message:
        "Secret 'receipts-0-a-replication' exists, but is not of our making (label app.kubernetes.io/managed-by=mtafleet.io): delete or rename it",
    },
    [],
  ])
})
