import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Cache, type Change } from './cache.ts'
import { formatKey, type KubeObject } from './resources.ts'

type Thing = KubeObject & { readonly owner: string }

const thing = (name: string, version = '1', owner = 'x', namespace = 'mail'): Thing => ({
  metadata: { namespace, name, uid: `uid-${name}`, resourceVersion: version },
  owner,
})

function openCache() {
  const cache = new Cache<Thing, 'owner'>({ owner: (object) => [object.owner] })
  const changes: string[] = []
  cache.onChange(({ key, before, after }: Change<Thing>) => {
    changes.push(`${formatKey(key)} ${before?.metadata.resourceVersion ?? '-'}→${after?.metadata.resourceVersion ?? '-'}`)
  })
  return { cache, changes }
}

test('a list that comes again tells only what differs', () => {
  const { cache, changes } = openCache()
  const section = cache.openSection()
  section.replace([thing('a'), thing('b'), thing('c')])
  changes.length = 0
  section.replace([thing('a'), thing('b', '2'), thing('d')])
  expect(changes.toSorted()).toEqual(['mail/b 1→2', 'mail/c 1→-', 'mail/d -→1'])
})

test('what is found by an index follows the change of the object', () => {
  const { cache } = openCache()
  const section = cache.openSection()
  section.replace([thing('b'), thing('a')])
  section.put(thing('a', '2', 'y'))
  section.remove(thing('b'))
  expect({ x: cache.by('owner', 'x'), y: cache.by('owner', 'y'), all: cache.list() }).toEqual({
    x: [],
    y: [thing('a', '2', 'y')],
    all: [thing('a', '2', 'y')],
  })
})

test('it has synced when every section has', async () => {
  const { cache } = openCache()
  const [one, two] = [cache.openSection(), cache.openSection()]
  const signal = new AbortController().signal
  one.replace([])
  expect(cache.hasSynced()).toBe(false)
  two.replace([])
  await cache.waitForSync(signal)
  expect(cache.hasSynced()).toBe(true)
})

test('a cache without sections has not synced, and waiting for it ends with the signal', async () => {
  const { cache } = openCache()
  expect(cache.hasSynced()).toBe(false)
  await expect(cache.waitForSync(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
})

test('a list of one section leaves the objects of another alone', () => {
  const { cache } = openCache()
  const [one, two] = [cache.openSection(), cache.openSection()]
  one.replace([thing('a', '1', 'x', 'one')])
  two.replace([thing('a', '1', 'x', 'two')])
  one.replace([])
  expect(cache.list()).toEqual([thing('a', '1', 'x', 'two')])
})

test('law: however it came about, the indexes agree with the objects', () => {
  const step = fc.record({ name: fc.constantFrom('a', 'b', 'c'), owner: fc.constantFrom('x', 'y'), gone: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { cache } = openCache()
      const section = cache.openSection()
      for (const [at, { name, owner, gone }] of steps.entries()) {
        const object = thing(name, String(at), owner)
        if (gone) section.remove(object)
        else section.put(object)
      }
      for (const owner of ['x', 'y']) expect(cache.by('owner', owner)).toEqual(cache.list().filter((object) => object.owner === owner))
    }),
  )
})
