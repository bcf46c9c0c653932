import { FINALIZERS, GROUP, LABELS, RESOURCES } from '#crds/group.ts'
import type { MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { SendingStream } from '#crds/sending-stream.ts'
import type { Manifest } from '../change.ts'
import { agentName, budgetName, ownedBy, podSelector, serviceName, streamLabels } from './metadata.ts'

/** What a stream has once, however many instances it has. An agent may read its stream's instances and report on them, and nothing else. */

export const buildService = (stream: SendingStream): Manifest => {
  const { port, implicitTlsPort, tlsSecretRef } = stream.spec.submission
  const implicitTls = { name: 'submissions', port: implicitTlsPort, targetPort: 'submissions', protocol: 'TCP' }
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadataOf(stream, serviceName(stream.metadata.name)),
    spec: {
      type: 'ClusterIP',
      selector: podSelector(stream),
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

/** A rule without resourceNames would allow every instance of the namespace: without instances there must be no rule. */
export const buildRole = (stream: SendingStream, instances: readonly string[]): Manifest => {
  const resourceNames = instances.toSorted()
  const onInstances = { apiGroups: [GROUP], resources: [RESOURCES.MTAInstance], resourceNames, verbs: ['get', 'list', 'watch'] }
  const onStatus = { apiGroups: [GROUP], resources: [`${RESOURCES.MTAInstance}/status`], resourceNames, verbs: ['patch'] }
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: metadataOf(stream, agentName(stream.metadata.name)),
    rules: resourceNames.length === 0 ? [] : [onInstances, onStatus],
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

export const buildInstance = (stream: SendingStream, name: string, spec: MTAInstanceSpec): Manifest => ({
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
