import { expect, test } from 'vitest'
import { fleet, named, pool, settings, stream, surroundings } from '#test/builders/fleet.ts'
import { settle } from '#test/builders/settle.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { parseMTAInstance } from '#crds/parse.ts'
import { buildPod } from './pod.ts'
import * as children from './stream-children.ts'
import { buildVolumeClaim } from './volume-claim.ts'

const mail = stream('mail', { primaries: 3 })
const settled = settle(
  fleet({ ...surroundings('node1'), streams: [mail], pools: [pool('mail', { node1: ['192.0.2.11', '192.0.2.12', '192.0.2.13'] })] }),
)
const instance = named(settled.instances, 'mail-0-a')
const alone: children.StreamShape = { shards: [], instances: ['mail-0-a'] }
const owner = { apiVersion: 'mtafleet.io/v1alpha1', kind: 'SendingStream', name: 'mail', uid: 'uid-mail-mail', controller: true }
const labels = { 'app.kubernetes.io/name': 'mtafleet', 'app.kubernetes.io/managed-by': 'mtafleet.io', 'mtafleet.io/stream': 'mail' }
const instanceLabels = { ...labels, 'mtafleet.io/instance': 'mail-0-a', 'mtafleet.io/shard': '0', 'mtafleet.io/class': 'Transactional' }
const selector = { 'mtafleet.io/stream': 'mail', 'app.kubernetes.io/component': 'agent' }

test('the Pod: the network of its node, and nothing else that a mail server does not need', () => {
  const probe = (path: string) => ({ host: '127.0.0.1', port: 20002, path, scheme: 'HTTP' })
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } })
  expect(buildPod(instance, settings, 'uid-of-claim')).toEqual({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'mail-0-a',
      namespace: 'mail',
      labels: { ...instanceLabels, 'app.kubernetes.io/component': 'agent' },
      annotations: { 'mtafleet.io/pod-hash': expect.stringMatching(/^[0-9a-f]{16}$/) },
      ownerReferences: [
        { apiVersion: 'mtafleet.io/v1alpha1', kind: 'MTAInstance', name: 'mail-0-a', uid: 'uid-mail-mail-0-a', controller: true },
      ],
    },
    spec: {
      hostNetwork: true,
      dnsPolicy: 'ClusterFirstWithHostNet',
      restartPolicy: 'Always',
      serviceAccountName: 'mail-agent',
      automountServiceAccountToken: true,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 60,
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['node1'] }] }],
          },
        },
      },
      tolerations: [
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
        { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
      ],
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        fsGroup: 65532,
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'agent',
          image: 'mtafleet:1',
          imagePullPolicy: 'IfNotPresent',
          args: ['agent'],
          env: [
            field('INSTANCE_NAMESPACE', 'metadata.namespace'),
            field('INSTANCE_NAME', 'metadata.name'),
            { name: 'INSTANCE_UID', value: 'uid-mail-mail-0-a' },
            { name: 'QUEUE_DIRECTORY', value: '/var/lib/mtafleet/queue' },
            { name: 'QUEUE_VOLUME_UID', value: 'uid-of-claim' },
            field('POD_IP', 'status.podIP'),
            { name: 'GRACE_SECONDS', value: '50' },
          ],
          ports: [
            { name: 'submission', containerPort: 20000, hostPort: 20000, protocol: 'TCP' },
            { name: 'submissions', containerPort: 20001, hostPort: 20001, protocol: 'TCP' },
            { name: 'admin', containerPort: 20002, hostPort: 20002, hostIP: '127.0.0.1', protocol: 'TCP' },
          ],
          startupProbe: { httpGet: probe('/livez'), periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 300 },
          livenessProbe: { httpGet: probe('/livez'), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
          readinessProbe: { httpGet: probe('/readyz'), periodSeconds: 3, timeoutSeconds: 3, failureThreshold: 2 },
          resources: { requests: { cpu: '100m', memory: '128Mi' } },
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          volumeMounts: [
            { name: 'queue', mountPath: '/var/lib/mtafleet/queue' },
            { name: 'tmp', mountPath: '/tmp' },
            { name: 'tls', mountPath: '/etc/mtafleet/tls', readOnly: true },
            { name: 'auth', mountPath: '/etc/mtafleet/auth', readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: 'queue', persistentVolumeClaim: { claimName: 'mail-0-a-queue' } },
        { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } },
        { name: 'tls', secret: { secretName: 'submission-tls', defaultMode: 0o440 } },
        { name: 'auth', secret: { secretName: 'submission-users', defaultMode: 0o440 } },
      ],
    },
  })
})

test('a Pod that was made before Pods named their claim is not another one', () => {
  expect(buildPod(instance, settings, 'uid-of-claim').metadata).toEqual(buildPod(instance, settings).metadata)
})

test("the Pod names the pull secrets of the agents' image", () => {
  const pod = buildPod(instance, { ...settings, agentImagePullSecrets: ['registry', 'mirror'] })
  expect(pod['spec']).toMatchObject({ imagePullSecrets: [{ name: 'registry' }, { name: 'mirror' }] })
})

const hash = (change: Partial<MTAInstance['spec']>, image = 'mtafleet:1') =>
  buildPod({ ...instance, spec: { ...instance.spec, ...change } }, { ...settings, agentImage: image }).metadata.annotations?.[
    'mtafleet.io/pod-hash'
  ]

test('another image, other ports, another node or other resources are another Pod', () => {
  const hashes = [
    hash({}),
    hash({}, 'mtafleet:2'),
    hash({ ports: { submission: 1, submissions: 2, admin: 3 } }),
    hash({ nodeName: 'node2' }),
    hash({ agent: { logLevel: 'Info', resources: { limits: { memory: '1Gi' } } } }),
    hash({ placement: { tolerations: [{ key: 'mail', operator: 'Exists' }] } }),
    hash({ placement: { priorityClassName: 'high' } }),
    hash({ submission: { ...instance.spec.submission, tlsSecretRef: { name: 'another' } } }),
  ]
  expect(new Set(hashes).size).toBe(hashes.length)
})

test('what the agent follows by itself is the same Pod', () => {
  expect([
    hash({ addresses: [] }),
    hash({ mode: 'Drain' }),
    hash({ routes: [{ domain: '*', nextHop: { host: 'relay.example', port: 25 } }] }),
    hash({ delivery: { maxConnectionsPerDestination: 1, maxMessagesPerConnection: 1 } }),
    hash({ agent: { logLevel: 'Debug' } }),
    hash({ submission: { ...instance.spec.submission, maxRecipients: 200 } }),
    hash({ queue: { ...instance.spec.queue, retrySeconds: [1], size: '2Gi' } }),
  ]).toEqual(Array.from({ length: 7 }, () => hash({})))
})

test('the document of the agent is one that the agent takes', () => {
  const { status: _status, ...document } = instance
  expect(parseMTAInstance({ ...document, metadata: { name: 'mail-0-a', namespace: 'mail' } }).spec).toEqual(instance.spec)
})

test('the claim has no owner, so that it outlives its instance', () => {
  expect(buildVolumeClaim(instance)).toEqual({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'mail-0-a-queue', namespace: 'mail', labels: instanceLabels },
    spec: {
      accessModes: ['ReadWriteOnce'],
      volumeMode: 'Filesystem',
      storageClassName: 'local-ssd',
      resources: { requests: { storage: '256Mi' } },
    },
  })
})

test('one Service for all instances; implicit TLS only with a certificate', () => {
  const submission = { name: 'submission', port: 587, targetPort: 'submission', protocol: 'TCP' }
  const submissions = { name: 'submissions', port: 465, targetPort: 'submissions', protocol: 'TCP' }
  const service = (ports: readonly unknown[]) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'mail-submission', namespace: 'mail', labels, ownerReferences: [owner] },
    spec: { type: 'ClusterIP', selector, ports },
  })
  const { tlsSecretRef: _tls, authSecretRef: _auth, ...open } = mail.spec.submission
  expect(children.buildService(mail, alone)).toEqual(service([submission, submissions]))
  expect(children.buildService({ ...mail, spec: { ...mail.spec, submission: open } }, alone)).toEqual(service([submission]))
})

test('an agent may read the instances of its stream and report on them; without instances it may nothing', () => {
  const onInstances = {
    apiGroups: ['mtafleet.io'],
    resources: ['mtainstances'],
    resourceNames: ['mail-0-a', 'mail-1-a'],
    verbs: ['get', 'list', 'watch'],
  }
  const onStatus = {
    apiGroups: ['mtafleet.io'],
    resources: ['mtainstances/status'],
    resourceNames: ['mail-0-a', 'mail-1-a'],
    verbs: ['patch'],
  }
  expect(children.buildRole(mail, { shards: [], instances: ['mail-1-a', 'mail-0-a'] })['rules']).toEqual([onInstances, onStatus])
  expect(children.buildRole(mail, { shards: [], instances: [] })['rules']).toEqual([])
})

test('the budget lets one Pod go at a time, and never the last', () => {
  const least = (primaries: number) =>
    (children.buildDisruptionBudget({ ...mail, spec: { ...mail.spec, primaries } })['spec'] as { minAvailable: number }).minAvailable
  expect([0, 1, 2, 3, 64].map(least)).toEqual([1, 1, 1, 2, 63])
})

test('labels and annotations of the admin stay where they are', () => {
  const marked = {
    ...mail,
    metadata: {
      ...mail.metadata,
      labels: { 'app.kubernetes.io/instance': 'argo' },
      annotations: { 'argocd.argoproj.io/tracking-id': 'x' },
    },
  }
  const made = [
    children.buildService(marked, alone),
    children.buildServiceAccount(marked),
    children.buildRole(marked, alone),
    children.buildRoleBinding(marked),
    children.buildDisruptionBudget(marked),
    children.buildInstance(marked, 'mail-0-a', instance.spec),
  ]
  expect(JSON.stringify(made)).not.toContain('argo')
})
