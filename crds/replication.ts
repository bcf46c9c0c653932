import { z } from 'zod'
import { AddressField, ObjectNameField } from './fields.ts'
import { mapList, setList } from './rules.ts'

/** Hot standby: what an instance is told about its shard, and what its agent says of it. The protocol is mta-agent/replication/README.md. */

export const Timing = z
  .enum(['Default', 'Fast'])
  .default('Default')
  .describe('Default: a lost primary is replaced within 10 s, and pauses of 2 s cost nothing. Fast: within 6 s, and pauses of 0.8 s.')

export const Durability = z
  .enum(['Strict', 'Available'])
  .default('Available')
  .describe(
    'What happens while no standby is in sync. Available: mail is accepted on one disk alone. Strict: mail is answered with 452 until a standby is back.',
  )

const PeerPort = (what: string) => z.int().min(1).max(65535).describe(what)

export const Peer = z
  .object({
    instance: ObjectNameField.describe('The other MTAInstance of the shard.'),
    address: AddressField.describe('Address of its node (InternalIP).'),
    logPort: PeerPort('Its port for the log.'),
    beaconPort: PeerPort('Its port for beacons and promises.'),
  })
  .describe('Another instance of the shard, and where it listens.')
export type Peer = z.infer<typeof Peer>

export const Replication = z
  .object({
    recordName: ObjectNameField.describe(
      'The Lease, in the same namespace, that says who is primary and who is in sync. Its agents change it; never edit it.',
    ),
    endpointSliceName: ObjectNameField.describe('The EndpointSlice, in the same namespace, in which the primary announces itself.'),
    timing: Timing,
    durability: Durability,
    peers: mapList(z.array(Peer).max(2), 'instance').default([]).describe('The other instances of the shard, as far as they have a node.'),
  })
  .describe('The shard that the instance is one of. Without it the instance is alone, and always primary.')
export type Replication = z.infer<typeof Replication>

export const PrimaryChange = z
  .object({
    reason: z
      .enum(['PrimaryLost', 'Switchover', 'Restarted', 'Forced'])
      .describe(
        'PrimaryLost: the promise to the one before had run out. Switchover: it had handed over. Restarted: it was an earlier process of this instance. Forced: an admin promoted this one.',
      ),
    copy: z
      .enum(['Complete', 'Incomplete'])
      .optional()
      .describe(
        'What was promoted by force. Incomplete: a full copy was under way, and what had not come yet is missing until the disk of the old primary is back.',
      ),
    at: z.iso.datetime().describe('When this instance began to act.'),
    durationMillis: z
      .int()
      .min(0)
      .max(Number.MAX_SAFE_INTEGER)
      .describe('From the last sign of life of the primary before, or from the start of this process, until this one acted.'),
    messages: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional().describe('Messages in the queue that it took over.'),
  })
  .describe('How the instance became primary the last time.')
export type PrimaryChange = z.infer<typeof PrimaryChange>

const Sequence = (what: string) => z.int().min(0).max(Number.MAX_SAFE_INTEGER).describe(what)

export const ReplicationStatus = z
  .object({
    copyId: z.string().max(64).describe('Names the contents of the queue volume; a volume formatted anew is another copy.'),
    incarnation: z.string().max(128).describe('Names the running process.'),
    role: z
      .enum(['Primary', 'Standby', 'Claiming'])
      .describe('Primary: accepts and delivers. Standby: follows. Claiming: is about to become primary.'),
    epoch: Sequence('The highest epoch that the instance has followed or led.'),
    inSync: setList(z.array(z.string().max(253)).max(8))
      .optional()
      .describe('Of a primary: the instances with a copy in the set, as the record said last.'),
    lastSequence: Sequence('The last entry of the log that is on this disk.').optional(),
    lagEntries: Sequence('Entries that it is known to lack; on the primary those that the slowest standby in sync lacks.').optional(),
    acceptedAlone: Sequence('Messages that this process accepted while no other copy was in sync.').optional(),
    setAside: Sequence('Messages of before a forced promotion that wait here to be handed over to the primary.').optional(),
    trouble: z
      .string()
      .max(64)
      .optional()
      .describe('Why the record cannot be worked with, in one word; the shard stops until a person has looked.'),
    refusal: z
      .object({
        request: z.enum(['Switchover', 'Promotion']).describe('What was asked for.'),
        of: z.string().max(64).describe('The value of the annotation that asked.'),
        because: z.string().max(64).describe('Why not, in one word.'),
      })
      .optional()
      .describe('The last switchover or promotion that was asked for and could not be begun.'),
    lastFailover: PrimaryChange.optional(),
  })
  .describe('The instance as one of its shard.')
export type ReplicationStatus = z.infer<typeof ReplicationStatus>
