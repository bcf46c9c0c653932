import { z } from 'zod'
import { DomainField, ObjectNameField, UnicastAddressField } from './fields.ts'
import { Conditions, type ObjectMeta } from './meta.ts'
import { mapList, setList, withRules } from './rules.ts'
import { MailClass } from './sending-stream.ts'

/** IPPool: source addresses with one policy, and the nodes that have them. */
export const PoolAddress = z
  .object({
    address: UnicastAddressField.describe(
      'The source address, IPv4 or IPv6, in its canonical spelling. No other pool of the namespace may name it.',
    ),
    hostName: DomainField.describe(
      'The name said in EHLO. Its A or AAAA record and the PTR record of the address must agree with it (FCrDNS).',
    ),
    nodeName: ObjectNameField.describe('The node that has this address on one of its interfaces.'),
  })
  .describe('One source address.')
export type PoolAddress = z.infer<typeof PoolAddress>

export const IPPoolSpec = z
  .object({
    addresses: mapList(z.array(PoolAddress).min(1).max(1024), 'address').describe(
      'The source addresses of this pool, each on the node that has it.',
    ),
    attachment: z
      .enum(['Existing'])
      .default('Existing')
      .describe('Who puts the addresses on the node. Existing: the administrator has; mtafleet only binds to them.'),
    allowedClasses: withRules(setList(z.array(MailClass).min(1).max(4)), {
      cel: "!('Cold' in self) || self.size() == 1",
      holds: (classes) => !classes.includes('Cold') || classes.length === 1,
      must: 'Cold must be the only class of its pool, for it ruins the reputation of every other',
      was: 'was %s',
      args: ['self'],
      values: (classes) => [classes],
    }).describe('The classes of mail that may be sent from this pool. Classes that must not share a reputation must not share a pool.'),
  })
  .describe('What the pool offers, and to whom.')
export type IPPoolSpec = z.infer<typeof IPPoolSpec>

export const PoolAddressStatus = z
  .object({
    address: z.string().min(2).max(45).describe('The source address.'),
    state: z
      .enum(['Free', 'Assigned', 'Conflict'])
      .describe('Free: no instance has it. Assigned: one has. Conflict: another pool names it too.'),
    instance: z.string().max(253).optional().describe('The MTAInstance that sends from it.'),
  })
  .describe('What became of one address.')
export type PoolAddressStatus = z.infer<typeof PoolAddressStatus>

export const IPPoolStatus = z
  .object({
    conditions: Conditions,
    observedGeneration: z.int().min(0).optional().describe('The generation this status speaks of.'),
    addresses: mapList(z.array(PoolAddressStatus).max(1024), 'address').optional().describe('What became of each address.'),
    total: z.int().min(0).max(1024).optional().describe('How many addresses the pool has.'),
    assigned: z.int().min(0).max(1024).optional().describe('How many of them an instance sends from.'),
    stream: z.string().max(253).optional().describe('The SendingStream that the pool serves.'),
  })
  .describe('What is, as last observed.')
export type IPPoolStatus = z.infer<typeof IPPoolStatus>

export type IPPool = {
  readonly apiVersion: 'mtafleet.io/v1alpha1'
  readonly kind: 'IPPool'
  readonly metadata: ObjectMeta
  readonly spec: IPPoolSpec
  readonly status?: IPPoolStatus
}
