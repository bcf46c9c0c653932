import type { Domain } from '../domain/envelope.ts'
import type { DeliverySettings, Tuning } from './ports.ts'
import type { DnsAnswer, HostAddress, MailResolver } from './resolver.ts'
import { familyOf, isLoopback, type LocatedHosts, type Own, planExchanges, planHosts, planNextHop } from './route.ts'

/** Asks DNS what route.ts wants to know. */

export type HostFinder = {
  readonly settings: DeliverySettings
  readonly resolver: MailResolver
  readonly random: () => number
  readonly tuning: Pick<Tuning, 'smtpPort' | 'loopback'>
}

export async function findHosts(destination: Domain, { settings, resolver, random, tuning }: HostFinder): Promise<LocatedHosts> {
  const nextHop = planNextHop(destination, settings.routes ?? [])
  // Whom an administrator names is meant, even if it is ourselves; a name of his that does not exist is his mistake, not the sender's.
  if (nextHop.kind === 'configured') {
    const { name, port } = nextHop
    return planHosts(name, [{ name, port, answer: await locate(name, resolver) }], false, new Set())
  }
  if (nextHop.kind === 'literal') {
    const { address } = nextHop
    return planHosts(
      destination,
      [{ name: address, port: tuning.smtpPort, answer: answerFor(address) ?? { kind: 'none' } }],
      true,
      new Set(),
    )
  }
  const own = new Set(settings.addresses.flatMap(({ address, hostName }) => [address, hostName.toLowerCase()]))
  const answer = await resolver.resolveMx(nextHop.domain)
  const exchanges = planExchanges(nextHop.domain, answer, own, random)
  if (exchanges.kind === 'outcome') return exchanges
  const located = await Promise.all(
    exchanges.hosts.map(async (name) => ({ name, port: tuning.smtpPort, answer: await locate(name, resolver) })),
  )
  const ownAddresses: Own = { has: (address) => own.has(address) || (tuning.loopback === 'own' && isLoopback(address)) }
  return planHosts(nextHop.domain, located, answer.kind === 'none', ownAddresses)
}

const locate = async (name: string, resolver: MailResolver): Promise<DnsAnswer<HostAddress>> =>
  answerFor(name) ?? (await resolver.resolveAddresses(name))

/** An address needs no question. */
function answerFor(name: string): DnsAnswer<HostAddress> | undefined {
  const family = familyOf(name)
  return family === 0 ? undefined : { kind: 'records', records: [{ address: name, family }] }
}
