import { z } from 'zod'
import { HostField, NetworkField, ObjectNameField, QuantityField, QueueSizeField, RouteDomainField } from './fields.ts'
import { Conditions, LocalRef, type ObjectMeta } from './meta.ts'
import { compareQuantities, isQuantity } from './quantity.ts'
import { Durability, PrimaryChange, Timing } from './replication.ts'
import { atomicList, immutable, mapList, setList, textRule, withRules, withTransitions } from './rules.ts'

/** SendingStream: one class of mail with its own processes, queue, addresses and limits. */

export const MailClass = z
  .enum(['Transactional', 'Notification', 'Marketing', 'Cold'])
  .describe('What kind of mail this is: Transactional (asked for by an act of the recipient), Notification, Marketing or Cold.')
export type MailClass = z.infer<typeof MailClass>

export const SubmissionLimits = {
  allowedNetworks: setList(z.array(NetworkField).max(64))
    .optional()
    .describe('Networks (CIDR) whose clients may submit without AUTH. Others must authenticate.'),
  maxMessageBytes: z
    .int()
    .min(65536)
    .max(157286400)
    .default(26214400)
    .describe('Largest message accepted, in bytes; larger ones get 552 (RFC 1870). At least 64 KiB (RFC 5321 section 4.5.3.1.7).'),
  maxRecipients: z
    .int()
    .min(100)
    .max(10000)
    .default(1000)
    .describe('Most recipients of one message; further ones get 452. At least 100 (RFC 5321 section 4.5.3.1.8).'),
  maxConnections: z
    .int()
    .min(1)
    .max(10000)
    .default(500)
    .describe('Most submission sessions at a time for each instance; further ones get 421.'),
}

export const QueuePolicy = {
  retrySeconds: atomicList(z.array(z.int().min(1).max(86400)).min(1).max(32))
    .default([300, 900, 1800, 3600, 7200, 14400])
    .describe('How long to wait after the first, second, … deferral of a recipient; the last one repeats (RFC 5321 section 4.5.4.1).'),
  maxAgeSeconds: z
    .int()
    .min(60)
    .max(2592000)
    .default(432000)
    .describe('How long delivery is tried before a message is returned to its sender (RFC 5321 section 4.5.4.1: 4 to 5 days).'),
}

/** Of every queue: a message that is deferred once must get a second chance before it expires. */
export const RETRY_BEFORE_EXPIRY = {
  cel: 'self.retrySeconds[0] < self.maxAgeSeconds',
  holds: (queue: { readonly retrySeconds: readonly number[]; readonly maxAgeSeconds: number }) =>
    (queue.retrySeconds[0] ?? 0) < queue.maxAgeSeconds,
  must: 'retrySeconds[0] must be less than maxAgeSeconds, or nothing is ever tried twice',
  was: 'was %d with maxAgeSeconds %d',
  args: ['self.retrySeconds[0]', 'self.maxAgeSeconds'],
  values: (queue: { readonly retrySeconds: readonly number[]; readonly maxAgeSeconds: number }) => [
    queue.retrySeconds[0] ?? 0,
    queue.maxAgeSeconds,
  ],
  path: ['retrySeconds'],
}

export const DeliveryLimits = z
  .object({
    maxConnectionsPerDestination: z
      .int()
      .min(1)
      .max(1000)
      .default(20)
      .describe('Most open connections from one instance to one destination.'),
    maxMessagesPerConnection: z.int().min(1).max(100000).default(100).describe('A connection is closed after so many transactions.'),
  })
  .prefault({})
  .describe('How fast mail may leave.')
export type DeliveryLimits = z.infer<typeof DeliveryLimits>

export const Route = z
  .object({
    domain: RouteDomainField.describe("Recipient domain in lower case, or '*' for every domain without a route of its own."),
    nextHop: z
      .object({
        host: HostField.describe('Host name or address; a name is looked up as A and AAAA, never as MX.'),
        port: z.int().min(1).max(65535).default(25).describe('TCP port.'),
      })
      .describe('Where mail for the domain goes instead of its MX.'),
  })
  .describe('A next hop for a domain, for relays and tests.')
export type Route = z.infer<typeof Route>

export const Routes = mapList(z.array(Route).max(256), 'domain')
  .optional()
  .describe('Next hops for domains; the domain itself before *. Domains without one go to their MX (RFC 5321 section 5.1).')

const KNOWN_RESOURCES = ['cpu', 'memory', 'ephemeral-storage']

const Quantities = withRules(z.record(z.string().max(63), QuantityField).meta({ maxProperties: 8 }), {
  cel: `self.all(name, name in ['${KNOWN_RESOURCES.join("', '")}'])`,
  holds: (quantities) => Object.keys(quantities).every((name) => KNOWN_RESOURCES.includes(name)),
  must: `resource names must be among ${KNOWN_RESOURCES.join(', ')}`,
  was: 'were %s',
  args: ['self.map(name, name)'],
  values: (quantities) => [Object.keys(quantities)],
})

type ResourceValues = {
  readonly requests?: Readonly<Record<string, string>> | undefined
  readonly limits?: Readonly<Record<string, string>> | undefined
}

const isWithin = (limit: string, request: string | undefined): boolean =>
  request === undefined || !isQuantity(request) || !isQuantity(limit) || compareQuantities(request, limit) <= 0

const beyondLimits = ({ requests, limits }: ResourceValues): string[] =>
  Object.entries(limits ?? {}).flatMap(([name, limit]) => (isWithin(limit, requests?.[name]) ? [] : [name]))

const CEL_BEYOND_LIMITS =
  'self.limits.filter(name, name in self.requests && isQuantity(self.requests[name]) && isQuantity(self.limits[name]) && ' +
  'quantity(self.requests[name]).isGreaterThan(quantity(self.limits[name])))'

export const Resources = withRules(
  z.object({
    requests: Quantities.optional().describe('What the scheduler reserves, by resource name.'),
    limits: Quantities.optional().describe('What the container may not exceed, by resource name.'),
  }),
  {
    cel: `!has(self.requests) || !has(self.limits) || ${CEL_BEYOND_LIMITS}.size() == 0`,
    holds: (resources) => beyondLimits(resources).length === 0,
    must: 'requests must not exceed limits',
    was: 'they did for %s',
    args: [CEL_BEYOND_LIMITS],
    values: (resources) => [beyondLimits(resources)],
    path: ['requests'],
  },
).describe('Compute resources of the agent container.')
export type Resources = z.infer<typeof Resources>

export const Toleration = withRules(
  z.object({
    key: z.string().max(316).optional().describe('Taint key; empty with operator Exists matches all.'),
    operator: z.enum(['Equal', 'Exists']).default('Equal').describe('How value is compared.'),
    value: z.string().max(63).optional().describe('Taint value.'),
    effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional().describe('Taint effect; all when absent.'),
  }),
  {
    cel: "self.operator == 'Exists' || (has(self.key) && self.key != '')",
    holds: ({ operator, key }) => operator === 'Exists' || (key ?? '') !== '',
    must: 'a toleration without key must have operator Exists',
    was: 'was %s',
    args: ['self.operator'],
    values: ({ operator }) => [operator],
    path: ['operator'],
  },
  {
    cel: "self.operator == 'Equal' || !has(self.value) || self.value == ''",
    holds: ({ operator, value }) => operator === 'Equal' || (value ?? '') === '',
    must: 'a toleration with operator Exists must have no value',
    was: 'was "%s"',
    args: ['self.value'],
    values: ({ value }) => [value ?? ''],
    path: ['value'],
  },
).describe('A taint that the Pods accept.')
export type Toleration = z.infer<typeof Toleration>

export const Placement = z
  .object({
    nodeSelector: z
      .record(z.string().max(316), z.string().max(63))
      .meta({ maxProperties: 16 })
      .optional()
      .describe('Labels a node must have. Among the nodes of the pool, only these are used.'),
    tolerations: atomicList(z.array(Toleration).max(16)).optional().describe('Taints that the Pods accept.'),
    priorityClassName: ObjectNameField.optional().describe('PriorityClass of the Pods.'),
  })
  .describe('Which of the nodes of the pool may run instances.')
export type Placement = z.infer<typeof Placement>

export const AgentTemplate = z
  .object({
    image: withRules(
      z.string().min(1).max(512),
      textRule("self.matches('^[^ \\\\t\\\\r\\\\n]+$')", 'must be an image reference without white space', (text) =>
        /^[^ \t\r\n]+$/.test(text),
      ),
    )
      .optional()
      .describe("Image of the agent; the operator's own when absent."),
    resources: Resources.optional(),
    logLevel: z.enum(['Debug', 'Info', 'Warn', 'Error']).default('Info').describe('Least level that is logged.'),
  })
  .prefault({})
  .describe('How the agent runs.')
export type AgentTemplate = z.infer<typeof AgentTemplate>

export const StopPolicy = z
  .enum(['None', 'Hold', 'HoldAndDrain'])
  .describe(
    'None: mail is accepted and delivered; on deletion the instances stop at once and undelivered mail stays on the volumes. Hold: nothing is accepted and nothing delivered; ' +
      'on deletion as None. HoldAndDrain: nothing is accepted, what is queued is delivered; on deletion each instance goes when its queue is empty.',
  )
export type StopPolicy = z.infer<typeof StopPolicy>

const Submission = withRules(
  z.object({
    port: z.int().min(1).max(65535).default(587).describe('Port of the Service for submission with STARTTLS (RFC 6409).'),
    implicitTlsPort: z
      .int()
      .min(1)
      .max(65535)
      .default(465)
      .describe('Port of the Service for submission over TLS from the first byte (RFC 8314). Served only with tlsSecretRef.'),
    tlsSecretRef: LocalRef('Secret of type kubernetes.io/tls').optional(),
    authSecretRef: LocalRef('Secret that holds the users').optional(),
    ...SubmissionLimits,
  }),
  {
    cel: 'self.port != self.implicitTlsPort',
    holds: ({ port, implicitTlsPort }) => port !== implicitTlsPort,
    must: 'submission.port and submission.implicitTlsPort must differ',
    was: 'both were %d',
    args: ['self.port'],
    values: ({ port }) => [port],
    path: ['implicitTlsPort'],
  },
  {
    cel: 'has(self.authSecretRef) || (has(self.allowedNetworks) && self.allowedNetworks.size() > 0)',
    holds: ({ authSecretRef, allowedNetworks }) => authSecretRef !== undefined || (allowedNetworks ?? []).length > 0,
    must: 'submission must have authSecretRef or allowedNetworks, or nobody could submit',
    was: 'both were missing',
    args: [],
    values: () => [],
  },
  {
    cel: '!has(self.authSecretRef) || has(self.tlsSecretRef)',
    holds: ({ authSecretRef, tlsSecretRef }) => authSecretRef === undefined || tlsSecretRef !== undefined,
    must: 'submission.authSecretRef must come with tlsSecretRef, for AUTH is offered under TLS only',
    was: 'tlsSecretRef was missing beside authSecretRef "%s"',
    args: ['self.authSecretRef.name'],
    values: ({ authSecretRef }) => [authSecretRef?.name ?? ''],
    path: ['tlsSecretRef'],
  },
).describe('How clients hand in mail, and who may.')

const Queue = withRules(
  z.object({
    storageClassName: immutable(ObjectNameField, 'queue.storageClassName', 'make a new stream and drain this one').describe(
      'StorageClass of the queue volumes; local SSD with WaitForFirstConsumer is meant. Cannot change.',
    ),
    size: withTransitions(QueueSizeField, {
      cel: '!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0',
      must: 'queue.size must not shrink, for volumes cannot',
      was: 'was "%s", would become "%s"',
      args: ['oldSelf', 'self'],
    }).describe('Size of each queue volume, as a Kubernetes quantity (20Gi), at least 64Mi. May grow, if the StorageClass can.'),
    volumeRetention: z
      .enum(['Retain', 'DeleteWhenEmpty'])
      .default('Retain')
      .describe(
        'What happens to the volume claim of an instance that goes. Retain: it stays. DeleteWhenEmpty: it goes too, if no mail is left on it.',
      ),
    ...QueuePolicy,
  }),
  RETRY_BEFORE_EXPIRY,
).describe('Where accepted mail is kept, and how long.')

export const Failover = z
  .object({
    timing: Timing,
    durability: Durability,
    nodeLossPolicy: z
      .enum(['Wait', 'Replace'])
      .default('Wait')
      .describe(
        'What happens to a standby whose node is away for 5 minutes. Wait: it comes back with its node. Replace: another node gets a new one.',
      ),
  })
  .prefault({})
  .describe('How standbys take over. Without standbys it says nothing.')
export type Failover = z.infer<typeof Failover>

export const SendingStreamSpec = z
  .object({
    class: immutable(MailClass, 'class', 'make a new stream: reputation does not move with a label').describe(
      `${MailClass.description} Cannot change.`,
    ),
    primaries: z
      .int()
      .min(0)
      .max(64)
      .default(1)
      .describe('How many instances share the load, each with its own queue and source addresses.'),
    standbysPerPrimary: z
      .int()
      .min(0)
      .max(2)
      .default(0)
      .describe(
        'How many standbys each of them has, on other nodes of the pool: every one keeps a copy of the queue and can take over. Each needs an address of the pool on its node.',
      ),
    failover: Failover,
    poolRef: withTransitions(LocalRef('IPPool'), {
      cel: 'self.name == oldSelf.name',
      must: 'poolRef.name cannot change (make a new stream and drain this one, or change the addresses of the pool)',
      was: 'was "%s", would become "%s"',
      args: ['oldSelf.name', 'self.name'],
    }).describe('The IPPool, in the same namespace, that the source addresses come from. It must allow the class. Cannot change.'),
    submission: Submission,
    queue: Queue,
    delivery: DeliveryLimits,
    routes: Routes,
    placement: Placement.optional(),
    agent: AgentTemplate,
    stopPolicy: StopPolicy.default('None'),
  })
  .describe('What the stream shall be.')
export type SendingStreamSpec = z.infer<typeof SendingStreamSpec>

export const QueueTotals = z
  .object({
    messages: z.int().min(0).describe('Messages with at least one recipient still to be served.'),
    recipients: z.int().min(0).describe('Recipients still to be served.'),
    deferred: z.int().min(0).describe('Recipients that were tried and wait for their next attempt.'),
  })
  .describe('What waits in the queue; coarse, at most every 10 s.')
export type QueueTotals = z.infer<typeof QueueTotals>

export const ShardFailover = PrimaryChange.extend({
  instance: z.string().max(253).describe('The MTAInstance that became primary.'),
}).describe('How the shard got its primary the last time.')
export type ShardFailover = z.infer<typeof ShardFailover>

export const ShardStatus = z
  .object({
    shard: z.int().min(0).max(63).describe('Number of the shard.'),
    primary: z.string().max(253).describe('The MTAInstance that accepts and delivers.'),
    nodeName: z.string().max(253).optional().describe('Its node.'),
    ready: z.enum(['True', 'False', 'Unknown']).describe('Its Ready condition.'),
    standbys: setList(z.array(z.string().max(253)).max(8))
      .optional()
      .describe('The other MTAInstances of the shard.'),
    epoch: z
      .int()
      .min(0)
      .optional()
      .describe('The reign of the primary: each has a higher one. There from when the record of the shard was made.'),
    inSync: setList(z.array(z.string().max(253)).max(8))
      .optional()
      .describe('The instances with a copy in the set, the primary among them.'),
    lastFailover: ShardFailover.optional(),
  })
  .describe('One shard: a queue and the instance that works on it.')
export type ShardStatus = z.infer<typeof ShardStatus>

export const SendingStreamStatus = z
  .object({
    conditions: Conditions,
    observedGeneration: z.int().min(0).optional().describe('The generation this status speaks of.'),
    replicas: z.int().min(0).max(128).optional().describe('How many instances there are.'),
    readyReplicas: z.int().min(0).max(128).optional().describe('How many of them are Ready.'),
    selector: z.string().max(1024).optional().describe('Label selector of the Pods, for /scale.'),
    shards: mapList(z.array(ShardStatus).max(128), 'shard').optional().describe('The shards, and who works on each.'),
    queue: QueueTotals.optional(),
  })
  .describe('What is, as last observed.')
export type SendingStreamStatus = z.infer<typeof SendingStreamStatus>

export type SendingStream = {
  readonly apiVersion: 'mtafleet.io/v1alpha1'
  readonly kind: 'SendingStream'
  readonly metadata: ObjectMeta
  readonly spec: SendingStreamSpec
  readonly status?: SendingStreamStatus
}
