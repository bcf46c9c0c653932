import { z } from 'zod'
import { InterfaceField } from './fields.ts'
import type { Rule } from './rules.ts'

/** How a source address is put on a node by the address holder, in the pool as in the instance. `when` says with what it may be given. */
export const attachFields = (when: string) => ({
  prefixLength: z.int().min(1).max(128).optional().describe(`With ${when}: 32 or 128 when absent.`),
  interface: InterfaceField.optional().describe(
    `With ${when}: the interface of the node; when absent, that of the network which contains the address, else that of the default route.`,
  ),
})

const fullLength = (address: string): number => (address.includes(':') ? 128 : 32)

export const PREFIX_FITS_FAMILY: Rule<{ readonly address: string; readonly prefixLength?: number | undefined }> = {
  cel: "!has(self.prefixLength) || self.prefixLength <= 32 || self.address.contains(':')",
  holds: ({ address, prefixLength }) => (prefixLength ?? 0) <= fullLength(address),
  must: 'prefixLength must be at most 32 for IPv4 and 128 for IPv6',
  was: 'was %d for %s',
  args: ['self.prefixLength', 'self.address'],
  values: ({ address, prefixLength }) => [prefixLength ?? 0, address],
  path: ['prefixLength'],
}
