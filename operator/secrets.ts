import { findCondition } from '#crds/conditions.ts'
import { GROUP, LABELS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import type { Client } from '#kube/client.ts'
import type { Clock } from '#kube/clock.ts'
import { isKubeError } from '#kube/errors.ts'
import { type AnyObject, formatKey, metadataOnly, type ObjectKey, SECRETS } from '#kube/resources.ts'
import { authorityName, certificateName } from '#operator/planning/objects/metadata.ts'
import type { SecretFacts } from '#operator/planning/snapshot.ts'
import type { Ours } from './controllers/watches.ts'
import { readCertificate } from './issue-certificate.ts'

/**
 * Which keys the Secrets have that streams and instances name. The operator may get a Secret by its name and nothing more (no list, no watch), so it looks again
 * from time to time: at the metadata, which has no values; the Secret itself is read only when that has changed, and only the names of its keys are kept.
 * A value must never be kept, logged or passed on.
 */

export type NamespacedKey = ObjectKey & { readonly namespace: string }

type Known = {
  readonly key: NamespacedKey
  /** Undefined: there is no such Secret. */
  readonly facts: SecretFacts | undefined
  readonly resourceVersion: string | undefined
  readonly lookedAt: number
}

export type SecretOptions = {
  readonly client: Pick<Client, 'find'>
  readonly clock: Clock
  /** What streams and instances name now. */
  readonly ours: () => Ours
  readonly onChange: (key: NamespacedKey) => void
  readonly onFailure: (key: NamespacedKey, error: unknown) => void
}

/** One that is missing or wrong is waited for by somebody; a good one changes rarely, and the kubelet brings its new content to the agent in any case. */
const LOOK_AGAIN_WAITED_FOR_MILLIS = 4000
const LOOK_AGAIN_MILLIS = 60_000
const TURN_MILLIS = 2000
const SECRET_METADATA = metadataOnly(SECRETS)

export class Secrets {
  readonly #options: SecretOptions
  readonly #known = new Map<string, Known>()

  constructor(options: SecretOptions) {
    this.#options = options
  }

  /**
   * What is known of every Secret that is named; those of the namespace that were not seen before are read first. Of no other: one that cannot be read
   * holds up its own namespace and nobody else.
   */
  async read(namespace: string, signal: AbortSignal): Promise<readonly SecretFacts[]> {
    const named = namedSecrets(this.#options.ours())
    const unseen = named.filter((key) => key.namespace === namespace && !this.#known.has(formatKey(key)))
    await Promise.all(unseen.map((key) => this.#look(key, signal)))
    return named.flatMap((key) => this.#known.get(formatKey(key))?.facts ?? [])
  }

  /** One that we have just written ourselves. */
  note(secret: AnyObject): void {
    const { namespace = '', name } = secret.metadata
    const key = { namespace, name }
    this.#known.set(formatKey(key), {
      key,
      facts: factsOf(key, secret),
      resourceVersion: secret.metadata.resourceVersion,
      lookedAt: this.#options.clock.monotonic(),
    })
  }

  /** Looks again, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#turn(signal)
      try {
        await this.#options.clock.sleep(TURN_MILLIS, signal)
      } catch (error) {
        if (!signal.aborted) throw error
      }
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const ours = this.#options.ours()
    const named = new Set(namedSecrets(ours).map(formatKey))
    const waitedFor = new Set(namedSecrets({ streams: [], instances: ours.instances.filter(waitsForSecrets) }).map(formatKey))
    const now = this.#options.clock.monotonic()
    for (const [text, { key, facts, lookedAt }] of this.#known) {
      const interval = facts === undefined || waitedFor.has(text) ? LOOK_AGAIN_WAITED_FOR_MILLIS : LOOK_AGAIN_MILLIS
      if (!named.has(text)) this.#known.delete(text)
      else if (now - lookedAt >= interval) await this.#lookAgain(key, signal)
    }
  }

  async #lookAgain(key: NamespacedKey, signal: AbortSignal): Promise<void> {
    const before = this.#known.get(formatKey(key))
    try {
      await this.#look(key, signal)
    } catch (error) {
      if (signal.aborted) return
      if (!isKubeError(error)) throw error
      return this.#options.onFailure(key, error)
    }
    if (this.#known.get(formatKey(key))?.resourceVersion !== before?.resourceVersion) this.#options.onChange(key)
  }

  async #look(key: NamespacedKey, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options
    const lookedAt = clock.monotonic()
    const before = this.#known.get(formatKey(key))
    const version =
      before?.facts === undefined ? undefined : (await client.find(SECRET_METADATA, key, { signal }))?.metadata.resourceVersion
    if (before !== undefined && version !== undefined && version === before.resourceVersion) {
      this.#known.set(formatKey(key), { ...before, lookedAt })
      return
    }
    const secret = await client.find(SECRETS, key, { signal })
    const facts = secret === undefined ? undefined : factsOf(key, secret)
    this.#known.set(formatKey(key), { key, facts, resourceVersion: secret?.metadata.resourceVersion, lookedAt })
  }
}

const waitsForSecrets = ({ status }: MTAInstance): boolean => findCondition(status?.conditions, 'SecretsFound')?.status !== 'True'

function factsOf({ namespace, name }: NamespacedKey, { metadata, type, data }: AnyObject): SecretFacts {
  const content: Readonly<Record<string, unknown>> = typeof data === 'object' && data !== null ? { ...data } : {}
  const isOurs = metadata.labels?.[LABELS.managedBy] === GROUP
  const certificate = isOurs ? readCertificate(content) : undefined
  return {
    namespace,
    name,
    type: typeof type === 'string' ? type : '',
    keys: Object.keys(content).toSorted(),
    ...(isOurs ? { isOurs } : {}),
    ...(certificate === undefined ? {} : { certificate }),
  }
}

/** Each once. */
export function namedSecrets({ streams, instances }: Pick<Ours, 'streams' | 'instances'>): readonly NamespacedKey[] {
  const given = [...streams, ...instances].flatMap(({ metadata: { namespace = '' }, spec: { submission } }) =>
    [submission.tlsSecretRef, submission.authSecretRef].flatMap((ref) => (ref === undefined ? [] : [{ namespace, name: ref.name }])),
  )
  const made = instances
    .filter(({ spec }) => spec.replication !== undefined)
    .flatMap(({ metadata: { namespace = '', name }, spec }) =>
      [certificateName(name), authorityName(spec.streamRef.name)].map((secret) => ({ namespace, name: secret })),
    )
  const keys = [...given, ...made]
  return [...new Map(keys.map((key) => [formatKey(key), key])).values()]
}
