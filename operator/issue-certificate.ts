import { createPrivateKey, X509Certificate } from 'node:crypto'
import { FIELD_OWNERS, GROUP, LABELS } from '#crds/group.ts'
import type { Client } from '#kube/client.ts'
import { type AnyObject, formatKey, SECRETS } from '#kube/resources.ts'
import type { Change, Manifest } from '#operator/planning/change.ts'
import type { CertificateFacts } from '#operator/planning/snapshot.ts'
import { type Authority, issueAuthority, issueCertificate } from './certificates/certificate.ts'

/**
 * A certificate for one instance, by the authority of its stream, which is made when it is missing. The keys are made here and go into Secrets; they are
 * kept, logged and passed on nowhere else.
 */

export type IssueChange = Extract<Change, { readonly kind: 'issueCertificate' }>
export type IssueParts = { readonly client: Pick<Client, 'find' | 'create' | 'update' | 'apply'>; readonly wall: number }

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** Clocks of nodes may be behind. */
const BEFORE = HOUR
const CERTIFICATE_DAYS = 90
const AUTHORITY_DAYS = 3650
/** With this much left of it an authority is followed by a new one, and trusted beside that to its end. */
export const AUTHORITY_LEFT_MILLIS = 365 * DAY

export type Issue =
  /** As the API server has them now. */
  | { readonly kind: 'issued'; readonly written: readonly AnyObject[] }
  /** A Secret of that name is somebody else's. */
  | { readonly kind: 'foreign'; readonly message: string }

export async function issueInstanceCertificate(
  { client, wall }: IssueParts,
  { secret, authority, dnsName }: IssueChange,
  signal: AbortSignal,
): Promise<Issue> {
  const found = await Promise.all([secret, authority].map((one) => client.find(SECRETS, keyOf(one), { signal })))
  const foreign = found.find((one) => one !== undefined && !isOurs(one))
  if (foreign !== undefined) return { kind: 'foreign', message: describeForeign(foreign) }
  const held = await ensureAuthority({ client, wall }, { secret: authority, known: found[1] }, signal)
  const issued = issueCertificate(held.authority, dnsName, { notBefore: wall - BEFORE, notAfter: wall + CERTIFICATE_DAYS * DAY })
  const data = { 'tls.crt': encode(issued.certificate), 'tls.key': encode(issued.key), 'ca.crt': encode(held.trusted) }
  const written = await client.apply(SECRETS, { ...secret, data }, { owner: FIELD_OWNERS.operator }, { signal })
  return { kind: 'issued', written: [held.secret, written] }
}

type Held = {
  readonly secret: AnyObject
  readonly authority: Authority
  /** This one and those before it that are still good, newest first. */
  readonly trusted: string
  readonly notAfter: number
}

type Kept = { readonly secret: Manifest; readonly known: AnyObject | undefined }

async function ensureAuthority({ client, wall }: IssueParts, { secret, known }: Kept, signal: AbortSignal): Promise<Held> {
  const before = known === undefined ? undefined : readAuthority(known)
  if (before !== undefined && before.notAfter - wall > AUTHORITY_LEFT_MILLIS) return before
  const name = `mtafleet ${secret.metadata.namespace}/${secret.metadata.labels?.[LABELS.stream] ?? ''}`.slice(0, LONGEST_COMMON_NAME)
  const issued = issueAuthority(name, { notBefore: wall - BEFORE, notAfter: wall + AUTHORITY_DAYS * DAY })
  const older = before === undefined ? [] : split(before.trusted)
  const trusted = [issued.certificate, ...older.filter((one) => Date.parse(new X509Certificate(one).validTo) > wall)]
  const object = { ...secret, data: { 'ca.crt': encode(trusted.join('')), 'ca.key': encode(issued.key) } }
  // Two instances may be served at once: whoever comes second gets a conflict, and takes the next time what the first has made.
  const { resourceVersion } = known?.metadata ?? {}
  const written =
    resourceVersion === undefined
      ? await client.create(SECRETS, object, { signal })
      : await client.update(SECRETS, withVersion(object, resourceVersion), { signal })
  const held = readAuthority(written)
  if (held === undefined) throw new TypeError(`Secret ${formatKey(keyOf(secret))} must hold the authority that was just written`)
  return held
}

const withVersion = (object: Manifest, resourceVersion: string): Manifest => ({
  ...object,
  metadata: { ...object.metadata, resourceVersion },
})

/** Undefined when it holds none that can be used: then there shall be a new one. */
function readAuthority(secret: AnyObject): Held | undefined {
  const trusted = decode(secret['data'], 'ca.crt')
  try {
    const certificate = new X509Certificate(split(trusted)[0] ?? '')
    const privateKey = createPrivateKey(decode(secret['data'], 'ca.key'))
    if (!certificate.checkPrivateKey(privateKey)) return undefined
    const name = /^CN=(?<name>.*)$/m.exec(certificate.subject)?.groups?.['name'] ?? ''
    const authority = { name, publicKey: certificate.publicKey, privateKey }
    return { secret, authority, trusted, notAfter: Date.parse(certificate.validTo) }
  } catch (error) {
    if (isCryptoError(error)) return undefined
    throw error
  }
}

/** What is public of the certificate that a Secret of ours holds: of an instance, or of an authority. Undefined when it holds none. */
export function readCertificate(data: unknown): CertificateFacts | undefined {
  const bundle = split(decode(data, 'ca.crt'))[0] ?? ''
  const own = decode(data, 'tls.crt')
  try {
    const authority = new X509Certificate(bundle)
    const { validTo, subjectAltName = '' } = own === '' ? authority : new X509Certificate(own)
    const dnsNames = subjectAltName.split(', ').flatMap((name) => (name.startsWith('DNS:') ? [name.slice('DNS:'.length)] : []))
    return { notAfter: Date.parse(validTo), dnsNames, authority: authority.fingerprint256 }
  } catch (error) {
    if (isCryptoError(error)) return undefined
    throw error
  }
}

/** Of OpenSSL or of Node's own checks; faults of ours have no code. */
const isCryptoError = (error: unknown): boolean => error instanceof Error && 'code' in error

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n?/g
/** The certificates of a bundle. */
const split = (bundle: string): readonly string[] => bundle.match(PEM) ?? []

const LONGEST_COMMON_NAME = 64

const isOurs = ({ metadata }: AnyObject): boolean => metadata.labels?.[LABELS.managedBy] === GROUP
const describeForeign = ({ metadata }: AnyObject): string =>
  `Secret '${metadata.name}' exists, but is not of our making (label ${LABELS.managedBy}=${GROUP}): delete or rename it`

const keyOf = ({ metadata: { namespace, name } }: Manifest) => ({ namespace, name })
const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64')

function decode(data: unknown, key: string): string {
  const value = typeof data === 'object' && data !== null ? (data as Readonly<Record<string, unknown>>)[key] : undefined
  return typeof value === 'string' ? Buffer.from(value, 'base64').toString('utf8') : ''
}
