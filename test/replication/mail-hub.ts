import { type Accepted, runLoad } from '#test/internet/load.ts'
import type { Arrival } from '#test/internet/arrival.ts'
import type { BehaviourInput } from '#test/internet/behaviour.ts'
import { openProvider } from '#test/internet/provider.ts'

/**
 * The rest of the world in a network namespace: `node test/replication/mail-hub.ts ADDRESS [BEHAVIOUR]`, with an IPC channel. A provider,
 * and a client that hands in what it is told to.
 */

export type ToHub = { readonly submit: { readonly run: string; readonly host: string; readonly port: number; readonly count: number } }
export type FromHub =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'begun'; readonly count: number }
  | { readonly kind: 'arrived'; readonly arrival: Arrival }
  | { readonly kind: 'accepted'; readonly run: string; readonly accepted: readonly Accepted[] }

const [address, behaviour] = process.argv.slice(2)
if (address === undefined || process.send === undefined) throw new Error('must be called with ADDRESS and an IPC channel')
/** How often it tells how many transactions were begun. */
const BEGUN_EVERY = 50
const tell = (message: FromHub): void => void process.send?.(message)

const provider = await openProvider({
  name: 'plain',
  addresses: [address],
  ...(behaviour !== undefined && { behaviour: JSON.parse(behaviour) as BehaviourInput }),
  onArrival: (arrival) => tell({ kind: 'arrived', arrival }),
})
setInterval(() => tell({ kind: 'begun', count: provider.beginnings().length }), BEGUN_EVERY).unref()
process.on('message', ({ submit }: ToHub) => void handIn(submit))
process.on('disconnect', () => process.exit(0))
tell({ kind: 'listening', port: provider.port })

async function handIn({ run, host, port, count }: ToHub['submit']): Promise<void> {
  const { accepted } = await runLoad(
    {
      server: { host, port, tls: 'none' },
      mix: {
        run,
        sender: 'load@senders.example',
        domains: ['plain.example'],
        recipientsPerMessage: 1,
        sizes: [{ bytes: 4_000, weight: 1 }],
      },
      connections: 2,
      count,
      backOffMillis: { first: 100, most: 1_000 },
    },
    new AbortController().signal,
  )
  tell({ kind: 'accepted', run, accepted })
}
