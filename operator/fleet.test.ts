import { expect, test } from 'vitest'
import type { Client, Selection } from '#kube/client.ts'
import { systemClock } from '#kube/clock.ts'
import { KubeError } from '#kube/errors.ts'
import type { ObjectKey, Resource } from '#kube/resources.ts'
import { settings } from '#test/builders/fleet.ts'
import { Fleet } from './fleet.ts'

/** An API server where each namespace has rights, or no rights any more, or is gone. */
function start(namespaces: Readonly<Record<string, 'Readable' | 'Forbidden' | 'Gone'>>) {
  const read = (of: Resource, { namespace }: Selection) => {
    if (namespace !== undefined && namespaces[namespace] !== 'Readable')
      throw new KubeError({ kind: 'forbidden' }, `cannot list ${of.plural} in the namespace "${namespace}"`)
    const items = of.kind === 'SendingStream' ? [{ metadata: { namespace: namespace ?? '', name: 'welcome', resourceVersion: '1' } }] : []
    return { items, resourceVersion: '5' }
  }
  const client = {
    async *listPages(of: Resource, selection: Selection) {
      yield read(of, selection)
    },
    async *watch(_: unknown, __: unknown, { signal }: { readonly signal: AbortSignal }) {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      yield* []
    },
    list: async (of: Resource, selection: Selection) => read(of, selection),
    find: async (_: unknown, { name }: ObjectKey) => (namespaces[name] === 'Gone' ? undefined : { metadata: { name } }),
  } as unknown as Client
  return new Fleet({ client, namespaces: Object.keys(namespaces), clock: systemClock, settings, onReport: () => undefined })
}

test('a namespace of the list that was deleted does not hold up the others', async () => {
  const stop = new AbortController()
  const fleet = start({ mail: 'Readable', old: 'Gone' })
  const watching = fleet.run(stop.signal)
  await fleet.waitForSync(AbortSignal.timeout(5000))
  await fleet.catchUp(AbortSignal.timeout(5000))
  expect(fleet.ours().streams.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual(['mail/welcome'])
  stop.abort()
  await watching
})

test('one that is there and cannot be read is waited for: its instances may have the addresses and ports that would be given out', async () => {
  const stop = new AbortController()
  const fleet = start({ mail: 'Readable', locked: 'Forbidden' })
  const watching = fleet.run(stop.signal)
  await expect(fleet.waitForSync(AbortSignal.timeout(100))).rejects.toThrow('timeout')
  expect(fleet.unsynced()).toContain('SendingStream in locked')
  stop.abort()
  await watching
})
