import type { MTAInstance } from '#crds/mta-instance.ts'
import { type Finding, good, stuck, waits } from './finding.ts'
import { authorityName, certificateName } from './objects/metadata.ts'
import { findSecret, isForeign } from './standbys/certificates.ts'
import type { FleetSnapshot, SecretFacts } from './snapshot.ts'

/** Whether the Secrets that an instance mounts are there, with the keys that the agent reads. Their values are nobody's business here. */
export function judgeSecrets(fleet: FleetSnapshot, instance: MTAInstance): Finding {
  const { tlsSecretRef, authSecretRef } = instance.spec.submission
  const find = (name: string) => fleet.secrets.find((secret) => secret.namespace === instance.metadata.namespace && secret.name === name)
  const faults = [
    ...(tlsSecretRef === undefined ? [] : [judgeTls(tlsSecretRef.name, find(tlsSecretRef.name))]),
    ...(authSecretRef === undefined ? [] : [judgeAuth(authSecretRef.name, find(authSecretRef.name))]),
  ].flatMap((fault) => fault ?? [])
  const certificate = judgeCertificate(fleet, instance)
  const [first] = faults
  if (first !== undefined) return stuck('SecretsFound', first.reason, faults.map(({ message }) => message).join('; '))
  if (certificate !== undefined) return certificate
  const names = [tlsSecretRef, authSecretRef].flatMap((reference) => reference?.name ?? [])
  return names.length === 0
    ? good('SecretsFound', 'NoneNeeded', 'the stream names no Secret')
    : good('SecretsFound', 'Found', `found: ${names.join(', ')}`)
}

/** Made by the operator itself, where there are standbys. */
function judgeCertificate(fleet: FleetSnapshot, instance: MTAInstance): Finding | undefined {
  if (instance.spec.replication === undefined) return undefined
  const name = certificateName(instance.metadata.name)
  const secrets = [name, authorityName(instance.spec.streamRef.name)].map((one) => findSecret(fleet, instance, one))
  const foreign = secrets.find(isForeign)
  if (foreign !== undefined) {
    return stuck('SecretsFound', 'ForeignObject', `Secret '${foreign.name}' must be the operator's own, but is not: delete or rename it`)
  }
  return secrets[0] === undefined ? waits('SecretsFound', 'CertificateMissing', `Secret '${name}' is being made`) : undefined
}

type Fault = { readonly reason: 'SecretNotFound' | 'SecretKeyMissing'; readonly message: string }

const TLS_KEYS = ['tls.crt', 'tls.key']

function judgeTls(name: string, secret: SecretFacts | undefined): Fault | undefined {
  if (secret === undefined) return { reason: 'SecretNotFound', message: `Secret '${name}' (tlsSecretRef) must exist` }
  const missing = TLS_KEYS.filter((key) => !secret.keys.includes(key))
  if (missing.length === 0) return undefined
  const message = `Secret '${name}' (tlsSecretRef) must have the keys ${TLS_KEYS.join(' and ')}, had ${formatKeys(secret.keys)}`
  return { reason: 'SecretKeyMissing', message }
}

function judgeAuth(name: string, secret: SecretFacts | undefined): Fault | undefined {
  if (secret === undefined) return { reason: 'SecretNotFound', message: `Secret '${name}' (authSecretRef) must exist` }
  if (secret.keys.length > 0) return undefined
  return { reason: 'SecretKeyMissing', message: `Secret '${name}' (authSecretRef) must have one key for each user, had none` }
}

const formatKeys = (keys: readonly string[]): string => (keys.length === 0 ? 'none' : keys.toSorted().join(', '))
