import type { MTAInstance } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Change, Manifest } from '../change.ts'
import { authorityName, certificateName, instanceLabels, ownedBy, streamLabels } from '../objects/metadata.ts'
import { findObject, type FleetSnapshot, isDeleting, type SecretFacts } from '../snapshot.ts'

/**
 * The certificate that an instance shows to the others of its shard: by the authority of the stream, for its own name alone, and in time before the old one
 * ends. Who holds one may read and write the mail of the stream; so nobody else's authority will do, and no name but its own.
 */

export type CertificatePlan = { readonly changes: readonly Change[]; readonly recheckAfter?: number }

const DAY = 86_400_000
/** With this much left it is replaced. */
const LEFT_MILLIS = 30 * DAY
const AUTHORITY_LEFT_MILLIS = 365 * DAY
const RECHECK_MILLIS = DAY / 4

export function planCertificate(fleet: FleetSnapshot, instance: MTAInstance, now: number): CertificatePlan {
  const stream = findObject(fleet.streams, instance.metadata.namespace, instance.spec.streamRef.name)
  if (stream === undefined || instance.spec.replication === undefined || isDeleting(instance)) return { changes: [] }
  const secret = findSecret(fleet, instance, certificateName(instance.metadata.name))
  const authority = findSecret(fleet, instance, authorityName(stream.metadata.name))
  if (isForeign(secret) || isForeign(authority) || isGood(instance, { secret, authority }, now)) {
    return { changes: [], recheckAfter: RECHECK_MILLIS }
  }
  const change: Change = {
    kind: 'issueCertificate',
    secret: buildCertificateSecret(instance),
    authority: buildAuthoritySecret(stream),
    dnsName: peerName(instance),
  }
  return { changes: [change], recheckAfter: RECHECK_MILLIS }
}

export const findSecret = (fleet: FleetSnapshot, { metadata }: MTAInstance, name: string): SecretFacts | undefined =>
  fleet.secrets.find((secret) => secret.namespace === metadata.namespace && secret.name === name)

export const isForeign = (secret: SecretFacts | undefined): boolean => secret !== undefined && secret.isOurs !== true

/** As the agents look for it (mta-agent/replication/peer-name.ts). */
const peerName = ({ metadata, spec }: MTAInstance): string => `${metadata.name}.${spec.streamRef.name}.${metadata.namespace ?? ''}.mtafleet`

type Facts = { readonly secret: SecretFacts | undefined; readonly authority: SecretFacts | undefined }

function isGood(instance: MTAInstance, { secret, authority }: Facts, now: number): boolean {
  const own = secret?.certificate
  const by = authority?.certificate
  if (own === undefined || own.notAfter - now < LEFT_MILLIS || own.dnsNames.join() !== peerName(instance)) return false
  // One that was deleted is made again when the next certificate is due; then all others follow it.
  return by === undefined || (by.authority === own.authority && by.notAfter - now >= AUTHORITY_LEFT_MILLIS)
}

const buildCertificateSecret = (instance: MTAInstance): Manifest => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: {
    name: certificateName(instance.metadata.name),
    namespace: instance.metadata.namespace ?? '',
    labels: instanceLabels(instance),
    ownerReferences: ownedBy('MTAInstance', instance),
  },
  type: 'kubernetes.io/tls',
})

const buildAuthoritySecret = (stream: SendingStream): Manifest => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: {
    name: authorityName(stream.metadata.name),
    namespace: stream.metadata.namespace ?? '',
    labels: streamLabels(stream),
    ownerReferences: ownedBy('SendingStream', stream),
  },
  type: 'Opaque',
})
