import { z } from 'zod'
import { Conditions, LocalRef, type ObjectMeta } from './meta.ts'
import {
  AgentTemplate,
  DeliveryLimits,
  MailClass,
  Placement,
  QueuePolicy,
  QueueTotals,
  Routes,
  SubmissionLimits,
} from './sending-stream.ts'

/**
 * MTAInstance: one running MTA. Written by the operator, followed by the agent, which takes the very same document from a file
 * when it runs without Kubernetes.
 */

export const SourceAddress = z
  .object({
    address: z.string().min(2).max(45).describe('Source address that deliveries are bound to.'),
    hostName: z.string().min(1).max(253).describe('The name said in EHLO from this address.'),
  })
  .describe('One source address of the instance.')
export type SourceAddress = z.infer<typeof SourceAddress>

const Port = (what: string) => z.int().min(0).max(65535).describe(`${what} 0, in a file only: any free one, named in the log.`)

export const MTAInstanceSpec = z
  .object({
    streamRef: LocalRef('SendingStream'),
    class: MailClass,
    shard: z.int().min(0).max(63).describe('Number of the shard.'),
    mode: z
      .enum(['Run', 'Hold', 'Drain'])
      .default('Run')
      .describe('Run: accept and deliver. Hold: neither. Drain: accept nothing, deliver what is queued, report when it is empty.'),
    nodeName: z.string().min(1).max(253).optional().describe('The node that has the addresses; the Pod runs there.'),
    addresses: z
      .array(SourceAddress)
      .max(1024)
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['address'] })
      .describe('The source addresses of the instance; no other instance has any of them.'),
    listenAddress: z
      .string()
      .min(2)
      .max(45)
      .optional()
      .describe("Address that submission listens on; the Pod's own when absent, loopback outside a Pod."),
    ports: z
      .object({
        submission: Port('Submission with STARTTLS.'),
        submissions: Port('Submission over TLS from the first byte; not opened without a certificate.'),
        admin: Port('Health and metrics, on loopback only.'),
      })
      .describe('Ports on the node, allocated by the operator so that instances on one node never collide.'),
    submission: z
      .object({
        tlsSecretRef: LocalRef('Secret of type kubernetes.io/tls').optional(),
        authSecretRef: LocalRef('Secret that holds the users').optional(),
        ...SubmissionLimits,
      })
      .describe('How clients hand in mail, and who may.'),
    queue: z
      .object({
        storageClassName: z.string().min(1).max(253).optional().describe('StorageClass of the queue volume.'),
        size: z.string().min(1).max(32).optional().describe('Size of the queue volume.'),
        volumeClaimName: z.string().min(1).max(253).optional().describe('The claim of the queue volume.'),
        volumeRetention: z
          .enum(['Retain', 'DeleteWhenEmpty'])
          .default('Retain')
          .describe('What happens to the claim when the instance goes.'),
        ...QueuePolicy,
      })
      .describe('Where accepted mail is kept, and how long.'),
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
      })
      .describe('Where the agent finds what it needs.'),
    delivery: DeliveryLimits,
    routes: Routes,
    placement: Placement.optional(),
    agent: AgentTemplate,
  })
  .describe('What the instance shall be; written by the operator.')
export type MTAInstanceSpec = z.infer<typeof MTAInstanceSpec>

/** The part of the status that the agent writes, with its own field owner. */
export const AgentStatus = z
  .object({
    observedGeneration: z.int().min(0).optional().describe('The generation of the spec that the agent works by.'),
    addresses: z
      .array(z.string().max(45))
      .max(1024)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe('The source addresses that the agent may open connections from, now. One that is missing here is in nobody’s use.'),
    queue: QueueTotals.optional(),
    oldestTime: z.iso.datetime().optional().describe('When the oldest message still queued was accepted.'),
    version: z.string().max(64).optional().describe('Version of the agent.'),
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
