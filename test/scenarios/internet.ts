import type { Arrival, Beginning } from '#test/internet/arrival.ts'
import type { BehaviourInput } from '#test/internet/behaviour.ts'
import { PROVIDERS } from '#test/internet/catalogue.ts'
import { addressOf } from '#test/internet/catalogue.ts'
import { arrivals, beginnings, behave, clearArrivals } from '#test/internet/client.ts'
import { compare, type Comparison, type Expectation } from '#test/internet/compare.ts'
import { internetUp } from '#test/internet/main.ts'

/** The small internet in the words that scenarios use. */
export type Internet = {
  /** Providers that take everything at once, with and without TLS, a real Postfix among them. */
  readonly friendlyDomains: readonly string[]
  readonly plainAddress: string
  behave(provider: string, behaviour: BehaviourInput): Promise<void>
  /** Forgets arrivals and every change of behaviour. */
  reset(): Promise<void>
  /** What arrived since the last reset. */
  arrivals(): Promise<readonly Arrival[]>
  /** Which transactions were begun since then, whatever came of them. */
  beginnings(): Promise<readonly Beginning[]>
  /** Over all arrivals, or over those whose Message-ID `counts`. */
  compare(expectation: Expectation, counts?: (messageId: string | null) => boolean): Promise<Comparison>
}

/** As the catalogue says. */
export const PLAIN: BehaviourInput = {}
/** Every transaction is put off at MAIL. */
export const TEMPFAIL: BehaviourInput = { rules: [{ at: 'mail', action: { do: 'reply', reply: '451 4.3.0 Try again later' } }] }

/** Brings the small internet up, or finds it up. */
export async function openInternet(): Promise<Internet> {
  await internetUp()
  const changed = new Set<string>()
  return {
    friendlyDomains: ['plain', 'starttls', 'selfsigned', 'postfix', 'preferences', 'implicit'].map((name) => `${name}.example`),
    plainAddress: addressOf(PROVIDERS.find(({ name }) => name === 'plain')!.hosts[0]),
    async behave(provider, behaviour) {
      changed.add(provider)
      await behave(provider, behaviour)
    },
    async reset() {
      for (const provider of changed) await behave(provider, {})
      changed.clear()
      await clearArrivals()
    },
    arrivals: () => arrivals({ outcome: 'arrived' }),
    beginnings,
    compare: async (expectation, counts = () => true) =>
      compare(
        expectation,
        (await arrivals({ outcome: 'arrived' })).filter(({ messageId }) => counts(messageId)),
      ),
  }
}
