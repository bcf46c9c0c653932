import { ANNOTATIONS, LABELS } from '#crds/group.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { POD_ENVIRONMENT } from '#agent/contract/pod-environment.ts'
import type { Manifest } from '../change.ts'
import { hashOf } from '../diff.ts'
import type { Settings } from '../snapshot.ts'
import { addressHolderVolumes, buildAddressHolder, isManaged, socketMount } from './address-holder.ts'
import { agentName, certificateName, claimName, instanceLabels, ownedBy } from './metadata.ts'

/**
 * The Pod of an instance. It sees the network of its node, for source addresses are there; all else is as closed as a Pod can be. Whatever
 * the running agent can follow by itself (addresses, limits, routes, mode) must not stand in here: a change of this manifest is another Pod.
 */

export const DIRECTORIES = {
  queue: '/var/lib/mtafleet/queue',
  tls: '/etc/mtafleet/tls',
  auth: '/etc/mtafleet/auth',
  replication: '/etc/mtafleet/replication',
  addressHolder: '/run/mtafleet/addresses',
} as const

export const CONTAINER = 'agent'
const USER = 65532
const SOCKET = { directory: DIRECTORIES.addressHolder, group: USER } as const
const DEFAULT_REQUESTS = { cpu: '100m', memory: '128Mi' }
/** Time to finish the transactions under way: a final reply may take long, but not accepting mail costs too. */
const TERMINATION_GRACE_SECONDS = 60
/** Of those, what closing the queue may take after the last transaction has ended. */
const CLOSING_SECONDS = 10

/** What all agents have in common. */
type Common = Pick<Settings, 'agentImage' | 'agentImagePullSecrets'>

/**
 * `volumeUid`: of the claim that the queue is on. It tells no Pods apart: a claim stays while a Pod uses it, so what was true when the Pod was
 * made is true as long as it lives.
 */
export function buildPod(instance: MTAInstance, common: Common, volumeUid?: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: instance.metadata.name,
      namespace: instance.metadata.namespace ?? '',
      labels: { ...instanceLabels(instance), [LABELS.component]: 'agent' },
      annotations: { [ANNOTATIONS.podHash]: hashOf(buildPodSpec(instance, common)) },
      ownerReferences: ownedBy('MTAInstance', instance),
    },
    spec: buildPodSpec(instance, common, volumeUid),
  }
}

function buildPodSpec(instance: MTAInstance, { agentImage, agentImagePullSecrets }: Common, volumeUid?: string) {
  const { placement, streamRef, nodeName } = instance.spec
  return {
    hostNetwork: true,
    dnsPolicy: 'ClusterFirstWithHostNet',
    restartPolicy: 'Always',
    serviceAccountName: agentName(streamRef.name),
    ...(agentImagePullSecrets.length === 0 ? {} : { imagePullSecrets: agentImagePullSecrets.map((name) => ({ name })) }),
    automountServiceAccountToken: true,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: TERMINATION_GRACE_SECONDS,
    ...(placement?.priorityClassName === undefined ? {} : { priorityClassName: placement.priorityClassName }),
    ...(placement?.nodeSelector === undefined ? {} : { nodeSelector: placement.nodeSelector }),
    affinity: { nodeAffinity: onNode(nodeName ?? '') },
    tolerations: [...COMES_BACK_WITH_ITS_NODE, ...(placement?.tolerations ?? [])],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    ...(isManaged(instance) ? { initContainers: [buildAddressHolder(instance, agentImage, SOCKET)] } : {}),
    containers: [buildContainer(instance, agentImage, volumeUid)],
    volumes: buildVolumes(instance),
  }
}

/** By name, as DaemonSets do: labels can be given to any node, names cannot. */
const onNode = (name: string) => ({
  requiredDuringSchedulingIgnoredDuringExecution: {
    nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }] }],
  },
})

/** A local volume does not follow to another node, so eviction would help nobody: the Pod waits for its node and comes back with it. */
const COMES_BACK_WITH_ITS_NODE = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].map((key) => ({
  key,
  operator: 'Exists',
  effect: 'NoExecute',
}))

function buildContainer(instance: MTAInstance, defaultImage: string, volumeUid: string | undefined) {
  const { agent, ports } = instance.spec
  return {
    name: CONTAINER,
    image: agent.image ?? defaultImage,
    imagePullPolicy: 'IfNotPresent',
    args: ['agent'],
    env: buildEnvironment(instance, volumeUid),
    // Named, so that a Service finds the right number on each Pod; declared, so that the scheduler sees collisions.
    ports: [
      { name: 'submission', containerPort: ports.submission, hostPort: ports.submission, protocol: 'TCP' },
      { name: 'submissions', containerPort: ports.submissions, hostPort: ports.submissions, protocol: 'TCP' },
      { name: 'admin', containerPort: ports.admin, hostPort: ports.admin, hostIP: '127.0.0.1', protocol: 'TCP' },
      ...(['log', 'beacon'] as const).flatMap((name) => {
        const port = ports[name]
        return port === undefined ? [] : [{ name, containerPort: port, hostPort: port, protocol: 'TCP' }]
      }),
    ],
    // Recovery of a large queue may take minutes; after the first success the liveness probe takes over.
    startupProbe: { httpGet: onAdmin(instance, '/livez'), periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 300 },
    livenessProbe: { httpGet: onAdmin(instance, '/livez'), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { httpGet: onAdmin(instance, '/readyz'), periodSeconds: 3, timeoutSeconds: 3, failureThreshold: 2 },
    resources: { requests: { ...DEFAULT_REQUESTS, ...agent.resources?.requests }, ...limitsOf(instance) },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    // The agent writes why it ends to this file; its log would be cut in the middle of other things.
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    volumeMounts: buildMounts(instance),
  }
}

const fromField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } })

/** The Pod is named like its instance. */
const buildEnvironment = ({ metadata }: MTAInstance, volumeUid: string | undefined) => [
  fromField(POD_ENVIRONMENT.namespace, 'metadata.namespace'),
  fromField(POD_ENVIRONMENT.name, 'metadata.name'),
  { name: POD_ENVIRONMENT.uid, value: metadata.uid ?? '' },
  { name: POD_ENVIRONMENT.queueDirectory, value: DIRECTORIES.queue },
  ...(volumeUid === undefined ? [] : [{ name: POD_ENVIRONMENT.queueVolumeUid, value: volumeUid }]),
  fromField(POD_ENVIRONMENT.podAddress, 'status.podIP'),
  { name: POD_ENVIRONMENT.graceSeconds, value: String(TERMINATION_GRACE_SECONDS - CLOSING_SECONDS) },
]

const onAdmin = (instance: MTAInstance, path: string) => ({ host: '127.0.0.1', port: instance.spec.ports.admin, path, scheme: 'HTTP' })

const limitsOf = (instance: MTAInstance) => {
  const limits = instance.spec.agent.resources?.limits
  return limits === undefined ? {} : { limits }
}

/** Whole directories: the kubelet does not refresh single files (subPath) when a Secret changes. */
function buildMounts(instance: MTAInstance) {
  const { spec } = instance
  const { tlsSecretRef, authSecretRef } = spec.submission
  return [
    { name: 'queue', mountPath: DIRECTORIES.queue },
    { name: 'tmp', mountPath: '/tmp' },
    ...(tlsSecretRef === undefined ? [] : [{ name: 'tls', mountPath: DIRECTORIES.tls, readOnly: true }]),
    ...(authSecretRef === undefined ? [] : [{ name: 'auth', mountPath: DIRECTORIES.auth, readOnly: true }]),
    ...(spec.replication === undefined ? [] : [{ name: 'replication', mountPath: DIRECTORIES.replication, readOnly: true }]),
    ...(isManaged(instance) ? [socketMount(DIRECTORIES.addressHolder)] : []),
  ]
}

function buildVolumes(instance: MTAInstance) {
  const { metadata, spec } = instance
  const { tlsSecretRef, authSecretRef } = spec.submission
  const secret = (name: string, secretName: string) => ({ name, secret: { secretName, defaultMode: 0o440 } })
  return [
    { name: 'queue', persistentVolumeClaim: { claimName: spec.queue.volumeClaimName ?? claimName(metadata.name) } },
    { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } },
    ...(tlsSecretRef === undefined ? [] : [secret('tls', tlsSecretRef.name)]),
    ...(authSecretRef === undefined ? [] : [secret('auth', authSecretRef.name)]),
    ...(spec.replication === undefined ? [] : [secret('replication', certificateName(metadata.name))]),
    ...(isManaged(instance) ? addressHolderVolumes() : []),
  ]
}
