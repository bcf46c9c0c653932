import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { MTAInstanceSpec } from '#crds/mta-instance.ts'
import type { ManagedAddresses, ManagedAddressesOptions } from './managed-addresses.ts'
import { monotonicMillis } from './replication/monotonic-clock.ts'
import { timersOf } from './replication/timers.ts'

export type AddressesOptions = Pick<ManagedAddressesOptions, 'used' | 'onChange' | 'log'> & { readonly settings: () => MTAInstanceSpec }

/** Undefined where the administrator has put the addresses on the node: such an instance loads none of it. */
export async function openAddresses(options: AddressesOptions): Promise<ManagedAddresses | undefined> {
  const { settings, used, onChange, log } = options
  const { addressAttachment, directories, replication } = settings()
  if (addressAttachment !== 'Managed') return undefined
  if (directories.addressHolder === undefined)
    throw new Error('addressAttachment Managed must come with directories.addressHolder, did not')
  const [{ HolderClient }, managed] = await Promise.all([import('./address-holder/client.ts'), import('./managed-addresses.ts')])
  return new managed.ManagedAddresses({
    holder: new HolderClient({ path: join(directories.addressHolder, 'holder.sock'), clock: monotonicMillis }),
    wanted: () => settings().addresses.map(managedOf),
    used,
    lifetime: timersOf(replication?.timing ?? 'Default').right,
    clock: monotonicMillis,
    sleep: (millis) => wait(millis),
    onChange,
    log,
  })
}

const managedOf = ({ address, prefixLength, interface: name }: MTAInstanceSpec['addresses'][number]) => ({
  address,
  ...(prefixLength === undefined ? {} : { prefixLength }),
  ...(name === undefined ? {} : { interface: name }),
})
