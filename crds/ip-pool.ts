import { z } from 'zod'
import { DomainField, ObjectNameField, UnicastAddressField } from './fields.ts'
import { Conditions, type ObjectMeta } from './meta.ts'
import { immutable, mapList, type Rule, setList, withRules } from './rules.ts'
import { MailClass } from './sending-stream.ts'
import { attachFields, PREFIX_FITS_FAMILY } from './source-address.ts'

/** IPPool: source addresses with one policy, and the nodes that have them or may get them. */
export const PoolAddress = withRules(
  z
    .object({
      address: UnicastAddressField.describe(
        'The source address, IPv4 or IPv6, in its canonical spelling. No other pool of the namespace may name it.',
      ),
      hostName: DomainField.describe(
        'The name said in EHLO. Its A or AAAA record and the PTR record of the address must agree with it (FCrDNS).',
      ),
      nodeName: ObjectNameField.optional().describe(
        'With attachment Existing: the node that has this address on one of its interfaces. With Managed there is none: the address goes to where the primary of its shard is.',
      ),
      ...attachFields('attachment Managed'),
    })
    .describe('One source address.'),
  PREFIX_FITS_FAMILY,
)
export type PoolAddress = z.infer<typeof PoolAddress>

const Attachment = immutable(
  z.enum(['Existing', 'Managed']).default('Existing'),
  'attachment',
  "make another pool: an address must never be the administrator's and mtafleet's at a time",
).describe(
  'Who puts the addresses on a node. Existing: the administrator has, for good; mtafleet only binds to them. Managed: mtafleet puts them on the node where the primary of the shard is, and takes them away when it is another one. Cannot change.',
)

type Attached = { readonly attachment: 'Existing' | 'Managed'; readonly addresses: readonly PoolAddress[] }

/** Addresses that break what goes with an attachment, in CEL and in TypeScript. */
const refuseAddresses = (
  attachment: Attached['attachment'],
  wrong: { readonly cel: string; readonly is: (entry: PoolAddress) => boolean },
  must: string,
): Rule<Attached> => {
  const broken = (spec: Attached): readonly string[] =>
    spec.attachment === attachment ? spec.addresses.filter(wrong.is).map(({ address }) => address) : []
  return {
    cel: `self.attachment != '${attachment}' || self.addresses.all(a, !(${wrong.cel}))`,
    holds: (spec) => broken(spec).length === 0,
    must,
    was: 'was not so for %s',
    args: [`self.addresses.filter(a, ${wrong.cel}).map(a, a.address)`],
    values: (spec) => [broken(spec)],
    path: ['addresses'],
  }
}

export const IPPoolSpec = withRules(
  z
    .object({
      addresses: mapList(z.array(PoolAddress).min(1).max(1024), 'address').describe('The source addresses of this pool.'),
      attachment: Attachment,
      nodeSelector: z
        .record(z.string().max(316), z.string().max(63))
        .meta({ maxProperties: 16 })
        .optional()
        .describe(
          'With attachment Managed: labels of the nodes whose network has the addresses, so that they may be put there. When absent, every node will do that the placement of the stream allows.',
        ),
      allowedClasses: withRules(setList(z.array(MailClass).min(1).max(4)), {
        cel: "!('Cold' in self) || self.size() == 1",
        holds: (classes) => !classes.includes('Cold') || classes.length === 1,
        must: 'Cold must be the only class of its pool, for it ruins the reputation of every other',
        was: 'was %s',
        args: ['self'],
        values: (classes) => [classes],
      }).describe('The classes of mail that may be sent from this pool. Classes that must not share a reputation must not share a pool.'),
    })
    .describe('What the pool offers, and to whom.'),
  refuseAddresses(
    'Existing',
    { cel: '!has(a.nodeName)', is: ({ nodeName }) => nodeName === undefined },
    'with attachment Existing every address must have a nodeName, for the administrator has put it on that node',
  ),
  refuseAddresses(
    'Managed',
    { cel: 'has(a.nodeName)', is: ({ nodeName }) => nodeName !== undefined },
    'with attachment Managed no address must have a nodeName, for it goes to where the primary of its shard is',
  ),
  refuseAddresses(
    'Existing',
    {
      cel: 'has(a.prefixLength) || has(a.interface)',
      is: (entry) => entry.prefixLength !== undefined || entry.interface !== undefined,
    },
    'prefixLength and interface must come with attachment Managed, for what is there already is used as it is',
  ),
  {
    cel: "self.attachment == 'Managed' || !has(self.nodeSelector)",
    holds: ({ attachment, nodeSelector }) => attachment === 'Managed' || nodeSelector === undefined,
    must: 'nodeSelector must come with attachment Managed, for with Existing each address names its node',
    was: 'attachment was %s',
    args: ['self.attachment'],
    values: ({ attachment }) => [attachment],
    path: ['nodeSelector'],
  },
)
export type IPPoolSpec = z.infer<typeof IPPoolSpec>

export const PoolAddressStatus = z
  .object({
    address: z.string().min(2).max(45).describe('The source address.'),
    state: z
      .enum(['Free', 'Assigned', 'Attached', 'Conflict'])
      .describe(
        'Free: no instance has it. Assigned: one has; with attachment Managed a shard has, and it is on no node now. Attached: with Managed, the instance has it on its node. Conflict: another pool names it too.',
      ),
    instance: z
      .string()
      .max(253)
      .optional()
      .describe(
        'The MTAInstance that sends from it; with attachment Managed the one that says it has it on its node, absent when none does.',
      ),
  })
  .describe('What became of one address.')
export type PoolAddressStatus = z.infer<typeof PoolAddressStatus>

export const IPPoolStatus = z
  .object({
    conditions: Conditions,
    observedGeneration: z.int().min(0).optional().describe('The generation this status speaks of.'),
    addresses: mapList(z.array(PoolAddressStatus).max(1024), 'address').optional().describe('What became of each address.'),
    total: z.int().min(0).max(1024).optional().describe('How many addresses the pool has.'),
    assigned: z.int().min(0).max(1024).optional().describe('How many of them an instance or a shard has.'),
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
