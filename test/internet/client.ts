import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Arrival, Beginning } from './arrival.ts'
import type { Behaviour, BehaviourInput } from './behaviour.ts'
import type { ArrivalFilter, Status } from './control-protocol.ts'
import { controlSocket } from './state.ts'

/** How scenarios talk to the small internet that runs beside the cluster. Every function rejects, with the reason, when it is not up. */

/** Changes members of a provider's behaviour; `{}` goes back to what the catalogue says. Answers with the whole behaviour that holds now. */
export async function behave(provider: string, change: BehaviourInput): Promise<Behaviour> {
  return (await ask('PUT', `/providers/${encodeURIComponent(provider)}/behaviour`, change)) as Behaviour
}

/** What was written down, in order of time, with every outcome unless the filter says otherwise. */
export async function arrivals(filter: ArrivalFilter = {}): Promise<readonly Arrival[]> {
  return (await ask('GET', `/arrivals?${query(filter)}`)) as readonly Arrival[]
}

/** Every transaction that was begun since, in order of time, whatever came of it. */
export async function beginnings(): Promise<readonly Beginning[]> {
  return (await ask('GET', '/beginnings')) as readonly Beginning[]
}

/** Forgets both in memory; the file keeps what arrived. */
export async function clearArrivals(): Promise<void> {
  await ask('DELETE', '/arrivals')
}

/** Waits until `count` messages that pass the filter have arrived (outcome `arrived`); answers with them. Rejects with the count when the signal fires. */
export async function waitForArrivals(count: number, filter: ArrivalFilter, signal: AbortSignal): Promise<readonly Arrival[]> {
  const wanted = { outcome: 'arrived', ...filter } as const
  for (;;) {
    const found = (await ask('GET', `/count?${query(wanted)}`)) as number
    if (found >= count) return await arrivals(wanted)
    if (signal.aborted) throw new Error(`${found} of ${count} messages arrived (${JSON.stringify(wanted)})`, { cause: signal.reason })
    await sleep(200, undefined, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}

/** Cuts all connections that a provider has open, hanging ones too. */
export async function closeConnections(provider: string): Promise<void> {
  await ask('DELETE', `/providers/${encodeURIComponent(provider)}/connections`)
}

/** Stops the name server from answering (it is frozen, not gone), or lets it go on. */
export async function setDns(state: Status['dns']): Promise<void> {
  await ask('PUT', '/dns', state)
}

export async function internetStatus(): Promise<Status> {
  return (await ask('GET', '/status')) as Status
}

/** The status, or undefined when the small internet is not up. */
export async function findInternet(): Promise<Status | undefined> {
  try {
    return await internetStatus()
  } catch (error) {
    if (['ENOENT', 'ECONNREFUSED'].includes(((error as Error).cause as NodeJS.ErrnoException | undefined)?.code ?? '')) return undefined
    throw error
  }
}

const query = (filter: ArrivalFilter): string => new URLSearchParams({ ...filter }).toString()

async function ask(method: string, path: string, body?: unknown): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const sent = request({ socketPath: controlSocket(), method, path, timeout: 30_000, agent: false }, (response) => {
    text(response).then((answer) => {
      const value: unknown = JSON.parse(answer)
      if (response.statusCode === 200) resolve(value)
      else reject(new Error(`the small internet says: ${(value as { error: string }).error}`))
    }, reject)
  })
  sent.once('timeout', () => sent.destroy(new Error('no answer in 30 s')))
  sent.once('error', (cause) =>
    reject(new Error(`the small internet cannot be asked at ${controlSocket()}; is it up? (npm run internet -- up)`, { cause })),
  )
  sent.end(body === undefined ? undefined : JSON.stringify(body))
  return await promise
}
