import { z } from 'zod'
import { isAddress, isLoopback, parseAddress } from './addresses.ts'
import { AddressField, DomainField, ObjectNameField, QueueSizeField } from './fields.ts'
import { immutable, mapList, setList, withRules, withTransitions } from './rules.ts'
import { Conditions, LocalRef, type ObjectMeta } from './meta.ts'
import { Replication, ReplicationStatus } from './replication.ts'
import {
  AgentTemplate,
  DeliveryLimits,
  MailClass,
  Placement,
  QueuePolicy,
  QueueTotals,
  type Route,
  RETRY_BEFORE_EXPIRY,
  Routes,
  SubmissionLimits,
} from './sending-stream.ts'
import { attachFields, PREFIX_FITS_FAMILY } from './source-address.ts'

/**
 * MTAInstance: one running MTA. Written by the operator, followed by the agent, which takes the very same document from a file
 * when it runs without Kubernetes.
 */

export const SourceAddress = withRules(
  z
    .object({
      address: AddressField.describe('Source address that deliveries are bound to, in its canonical spelling.'),
      hostName: DomainField.describe('The name said in EHLO from this address.'),
      ...attachFields('addressAttachment Managed'),
    })
    .describe('One source address of the instance.'),
  PREFIX_FITS_FAMILY,
)
export type SourceAddress = z.infer<typeof SourceAddress>

const Port = (what: string) => z.int().min(0).max(65535).describe(`${what} 0, in a file only: any free one, named in the log.`)

const PortFields = z.object({
  submission: Port('Submission with STARTTLS.'),
  submissions: Port('Submission over TLS from the first byte; not opened without a certificate.'),
  admin: Port('Health and metrics, on loopback only.'),
  log: Port('The log, for the standbys of the shard; with replication only.').optional(),
  beacon: Port('Beacons and promises, for the standbys of the shard; with replication only.').optional(),
})
export type Ports = z.infer<typeof PortFields>

/** Those that there are. */
export const portsOf = ({ submission, submissions, admin, log, beacon }: Ports): readonly number[] =>
  [submission, submissions, admin, log, beacon].filter((port) => port !== undefined)

/** In CEL; those of replication only where they are. */
export const celPorts = (ports: string): string =>
  `([${['submission', 'submissions', 'admin'].map((name) => `${ports}.${name}`).join(', ')}] + ` +
  `${['log', 'beacon'].map((name) => `(has(${ports}.${name}) ? [${ports}.${name}] : [])`).join(' + ')})`

const PortsField = withRules(PortFields, {
  cel: `${celPorts('self')}.all(port, port == 0 || ${celPorts('self')}.exists_one(other, other == port))`,
  holds: (ports) => {
    const fixed = portsOf(ports).filter((port) => port !== 0)
    return new Set(fixed).size === fixed.length
  },
  must: 'the ports must differ',
  was: 'were %s',
  args: [celPorts('self')],
  values: (ports) => [portsOf(ports).map(String)],
})
const InstanceSpec = z
  .object({
    streamRef: withTransitions(LocalRef('SendingStream'), {
      cel: 'self.name == oldSelf.name',
      must: 'streamRef.name cannot change',
      was: 'was "%s", would become "%s"',
      args: ['oldSelf.name', 'self.name'],
    }),
    class: immutable(MailClass, 'class', 'it is that of the stream').describe(`${MailClass.description} Cannot change.`),
    shard: withTransitions(z.int().min(0).max(63), {
      cel: 'self == oldSelf',
      must: 'shard cannot change',
      was: 'was %d, would become %d',
      args: ['oldSelf', 'self'],
    }).describe('Number of the shard. Cannot change.'),
    mode: z
      .enum(['Run', 'Hold', 'Drain'])
      .default('Run')
      .describe('Run: accept and deliver. Hold: neither. Drain: accept nothing, deliver what is queued, report when it is empty.'),
    nodeName: ObjectNameField.optional().describe('The node that has the addresses, or gets them; the Pod runs there.'),
    // Empty by default: where server-side apply takes the last one out of a list nothing is left, and what must be given would be missing.
    addresses: mapList(z.array(SourceAddress).max(1024), 'address')
      .default([])
      .describe(
        'The source addresses of the instance. No other instance has any of them, but with addressAttachment Managed the others of its shard.',
      ),
    addressAttachment: z
      .enum(['Existing', 'Managed'])
      .optional()
      .describe(
        'Who puts the addresses on the node. Existing, or absent: the administrator has. Managed: the address holder beside the agent, while the agent may act.',
      ),
    listenAddress: AddressField.optional().describe(
      "Address that submission listens on; the Pod's own when absent, loopback outside a Pod.",
    ),
    ports: PortsField.describe('Ports on the node, allocated by the operator so that instances on one node never collide.'),
    submission: z
      .object({
        tlsSecretRef: LocalRef('Secret of type kubernetes.io/tls').optional(),
        authSecretRef: LocalRef('Secret that holds the users').optional(),
        ...SubmissionLimits,
      })
      .describe('How clients hand in mail, and who may.'),
    queue: withRules(
      z.object({
        storageClassName: ObjectNameField.optional().describe('StorageClass of the queue volume.'),
        size: QueueSizeField.optional().describe('Size of the queue volume.'),
        volumeClaimName: ObjectNameField.optional().describe('The claim of the queue volume.'),
        volumeRetention: z
          .enum(['Retain', 'DeleteWhenEmpty'])
          .default('Retain')
          .describe('What happens to the claim when the instance goes.'),
        ...QueuePolicy,
      }),
      RETRY_BEFORE_EXPIRY,
    ).describe('Where accepted mail is kept, and how long.'),
    directories: z
      .object({
        queue: z.string().min(1).max(1024).describe('Where the queue volume is mounted.'),
        tls: z.string().min(1).max(1024).optional().describe('Where the TLS Secret is mounted: tls.crt and tls.key.'),
        auth: z
          .string()
          .min(1)
          .max(1024)
          .optional()
          .describe('Where the AUTH Secret is mounted: one file for each user, named like the user.'),
        replication: z
          .string()
          .min(1)
          .max(1024)
          .optional()
          .describe('Where the certificate for the other instances of the shard is: tls.crt, tls.key and ca.crt.'),
        addressHolder: z.string().min(1).max(1024).optional().describe('Where the socket of the address holder is: holder.sock.'),
      })
      .describe('Where the agent finds what it needs.'),
    delivery: DeliveryLimits,
    routes: Routes,
    placement: Placement.optional(),
    agent: AgentTemplate,
    replication: Replication.optional(),
  })
  .describe('What the instance shall be; written by the operator.')

type LoopFacts = {
  readonly addresses: readonly SourceAddress[]
  readonly ports: { readonly submission: number; readonly submissions: number }
  readonly routes?: readonly Route[] | undefined
}

/** Next hops that are this very instance: mail sent there would come back for ever. */
const loops = ({ addresses, ports, routes }: LoopFacts): Route[] =>
  (routes ?? []).filter(({ nextHop: { host, port } }) => {
    const isOwn = addresses.some(({ address }) => address === host) || (isAddress(host) && isLoopback(parseAddress(host)))
    return isOwn && [ports.submission, ports.submissions].includes(port)
  })

const CEL_LOOPS =
  'self.routes.filter(r, r.nextHop.port in [self.ports.submission, self.ports.submissions] && ' +
  '((isIP(r.nextHop.host) && ip(r.nextHop.host).isLoopback()) || self.addresses.exists(a, a.address == r.nextHop.host)))'

const missingForReplication = ({ ports, directories }: ReplicationFacts): string[] => [
  ...(ports.log === undefined ? ['ports.log'] : []),
  ...(ports.beacon === undefined ? ['ports.beacon'] : []),
  ...(directories.replication === undefined ? ['directories.replication'] : []),
]
type ReplicationFacts = { readonly ports: Ports; readonly directories: { readonly replication?: string | undefined } }

const CEL_MISSING = `(${['ports.log', 'ports.beacon', 'directories.replication'].map((path) => `(has(self.${path}) ? [] : ['${path}'])`).join(' + ')})`

export const MTAInstanceSpec = withRules(
  InstanceSpec,
  {
    cel: 'has(self.directories.auth) || (has(self.submission.allowedNetworks) && self.submission.allowedNetworks.size() > 0)',
    holds: ({ directories, submission }) => directories.auth !== undefined || (submission.allowedNetworks ?? []).length > 0,
    must: 'there must be directories.auth or submission.allowedNetworks, or nobody could submit',
    was: 'both were missing',
    args: [],
    values: () => [],
  },
  {
    cel: '!has(self.directories.auth) || has(self.directories.tls)',
    holds: ({ directories }) => directories.auth === undefined || directories.tls !== undefined,
    must: 'directories.auth must come with directories.tls, for AUTH is offered under TLS only',
    was: 'directories.tls was missing',
    args: [],
    values: () => [],
    path: ['directories', 'tls'],
  },
  {
    cel: "!has(self.addressAttachment) || self.addressAttachment != 'Managed' || has(self.directories.addressHolder)",
    holds: ({ addressAttachment, directories }) => addressAttachment !== 'Managed' || directories.addressHolder !== undefined,
    must: 'addressAttachment Managed must come with directories.addressHolder, for the agent cannot attach addresses itself',
    was: 'directories.addressHolder was missing',
    args: [],
    values: () => [],
    path: ['directories', 'addressHolder'],
  },
  {
    cel: `!has(self.routes) || ${CEL_LOOPS}.size() == 0`,
    holds: (spec) => loops(spec).length === 0,
    must: 'a next hop must not be the instance itself',
    was: 'was so for %s',
    args: [`${CEL_LOOPS}.map(r, r.domain)`],
    values: (spec) => [loops(spec).map(({ domain }) => domain)],
    path: ['routes'],
  },
  {
    cel: `!has(self.replication) || (${CEL_MISSING}.size() == 0)`,
    holds: (spec) => spec.replication === undefined || missingForReplication(spec).length === 0,
    must: 'replication must come with ports.log, ports.beacon and directories.replication',
    was: 'missing were %s',
    args: [CEL_MISSING],
    values: (spec) => [missingForReplication(spec)],
    path: ['replication'],
  },
)
export type MTAInstanceSpec = z.infer<typeof MTAInstanceSpec>

/** The part of the status that the agent writes, with its own field owner. */
export const AgentStatus = z
  .object({
    observedGeneration: z.int().min(0).optional().describe('The generation of the spec that the agent works by.'),
    addresses: setList(z.array(z.string().max(45)).max(1024))
      .optional()
      .describe(
        'The source addresses that the agent may open connections from, now or, with standbys, as soon as it is primary. One that is missing here is in nobody’s use.',
      ),
    attachedAddresses: setList(z.array(z.string().max(45)).max(1024))
      .optional()
      .describe('With addressAttachment Managed: those that are on the node now, put there for this agent.'),
    queue: QueueTotals.optional(),
    oldestTime: z.iso.datetime().optional().describe('When the oldest message still queued was accepted.'),
    version: z.string().max(64).optional().describe('Version of the agent.'),
    replication: ReplicationStatus.optional(),
  })
  .describe('What the agent says of itself.')
export type AgentStatus = z.infer<typeof AgentStatus>

export const MTAInstanceStatus = z
  .object({
    conditions: Conditions,
    observedGeneration: z.int().min(0).optional().describe('The generation this status speaks of.'),
    podName: z.string().max(253).optional().describe('The Pod.'),
    nodeName: z.string().max(253).optional().describe('The node it runs on.'),
    agent: AgentStatus.optional(),
  })
  .describe('What is, as last observed.')
export type MTAInstanceStatus = z.infer<typeof MTAInstanceStatus>

export type MTAInstance = {
  readonly apiVersion: 'mtafleet.io/v1alpha1'
  readonly kind: 'MTAInstance'
  readonly metadata: ObjectMeta
  readonly spec: MTAInstanceSpec
  readonly status?: MTAInstanceStatus
}
