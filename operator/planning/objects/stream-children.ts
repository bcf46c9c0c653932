import { FINALIZERS, GROUP, LABELS, RESOURCES } from '#crds/group.ts'
import type { MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Manifest } from '../change.ts'
import {
  agentName,
  budgetName,
  claimName,
  endpointSliceName,
  ownedBy,
  podSelector,
  recordName,
  serviceName,
  streamLabels,
} from './metadata.ts'

/** What a stream has once, however many instances it has. An agent may read its stream's instances and report on them, and nothing else. */

export type StreamShape = {
  /** Shards with standbys; empty in a stream without. */
  readonly shards: readonly number[]
  /** Its instances. */
  readonly instances: readonly string[]
}

export const buildService = (stream: SendingStream, { shards }: StreamShape): Manifest => {
  const { port, implicitTlsPort, tlsSecretRef } = stream.spec.submission
  const implicitTls = { name: 'submissions', port: implicitTlsPort, targetPort: 'submissions', protocol: 'TCP' }
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadataOf(stream, serviceName(stream.metadata.name)),
    spec: {
      type: 'ClusterIP',
      selector: shards.length === 0 ? podSelector(stream) : { ...podSelector(stream), ...SELECTS_NOTHING },
      ports: [
        { name: 'submission', port, targetPort: 'submission', protocol: 'TCP' },
        // Without a certificate the agents do not open it.
        ...(tlsSecretRef === undefined ? [] : [implicitTls]),
      ],
    },
  }
}

export const buildServiceAccount = (stream: SendingStream): Manifest => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: metadataOf(stream, agentName(stream.metadata.name)),
  automountServiceAccountToken: false,
})

/**
 * No Pod has it. Primaries announce themselves (shard-children.ts), for a standby must get no mail. Without any selector Kubernetes would leave what
 * it had found before in place for ever.
 */
const SELECTS_NOTHING = { [LABELS.component]: 'announced-by-the-primary' }

/**
 * A rule without resourceNames would allow every object of the namespace: where there is nothing to name there must be no rule. With standbys an agent also
 * changes the record and the endpoints of a shard, and must know which volume its claim is bound to.
 */
export const buildRole = (stream: SendingStream, { instances, shards }: StreamShape): Manifest => {
  const names = instances.toSorted()
  const records = shards.map((shard) => recordName(stream.metadata.name, shard))
  const slices = shards.map((shard) => endpointSliceName(stream.metadata.name, shard))
  const rules = [
    { apiGroups: [GROUP], resources: [RESOURCES.MTAInstance], resourceNames: names, verbs: ['get', 'list', 'watch'] },
    { apiGroups: [GROUP], resources: [`${RESOURCES.MTAInstance}/status`], resourceNames: names, verbs: ['patch'] },
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: records, verbs: ['get', 'update'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], resourceNames: slices, verbs: ['get', 'update'] },
    {
      apiGroups: [''],
      resources: ['persistentvolumeclaims'],
      resourceNames: shards.length === 0 ? [] : names.map(claimName),
      verbs: ['get'],
    },
  ]
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: metadataOf(stream, agentName(stream.metadata.name)),
    rules: rules.filter(({ resourceNames }) => resourceNames.length > 0),
  }
}

export const buildRoleBinding = (stream: SendingStream): Manifest => {
  const name = agentName(stream.metadata.name)
  const { namespace = '' } = stream.metadata
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: metadataOf(stream, name),
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
  }
}

/** An integer, for Pods without a workload controller have no number to take a share of. A Pod that is not ready never stands in the way. */
export const buildDisruptionBudget = (stream: SendingStream): Manifest => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: metadataOf(stream, budgetName(stream.metadata.name)),
  spec: {
    minAvailable: Math.max(1, stream.spec.primaries - 1),
    selector: { matchLabels: podSelector(stream) },
    unhealthyPodEvictionPolicy: 'AlwaysAllow',
  },
})

export const buildInstance = (
  stream: SendingStream,
  name: string,
  spec: MTAInstanceSpec,
  requests: Readonly<Record<string, string>> = {},
): Manifest => ({
  apiVersion: stream.apiVersion,
  kind: 'MTAInstance',
  metadata: {
    ...metadataOf(stream, name),
    labels: {
      ...streamLabels(stream),
      [LABELS.instance]: name,
      [LABELS.shard]: String(spec.shard),
      [LABELS.class]: spec.class,
    },
    ...(Object.keys(requests).length === 0 ? {} : { annotations: requests }),
    finalizers: [FINALIZERS.drain],
  },
  spec,
})

const metadataOf = (stream: SendingStream, name: string) => ({
  name,
  namespace: stream.metadata.namespace ?? '',
  labels: streamLabels(stream),
  ownerReferences: ownedBy('SendingStream', stream),
})
