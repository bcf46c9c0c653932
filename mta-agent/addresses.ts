import type { networkInterfaces } from 'node:os'

/** Which of the wanted source addresses this machine has. All of 127.0.0.0/8 counts as there where the loopback interface is. */
export function presentAddresses(wanted: readonly string[], interfaces: ReturnType<typeof networkInterfaces>): string[] {
  const all = Object.values(interfaces).flatMap((entries) => entries ?? [])
  const known = new Set(all.map(({ address }) => address))
  const hasLoopback = all.some(({ internal, family }) => internal && family === 'IPv4')
  return wanted.filter((address) => known.has(address) || (hasLoopback && address.startsWith('127.')))
}
