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
  section.replace([thing('a'), thing('b'), thing('c')], '1')
  changes.length = 0
  section.replace([thing('a'), thing('b', '2'), thing('d')], '3')
  expect(changes.toSorted()).toEqual(['mail/b 1→2', 'mail/c 1→-', 'mail/d -→1'])
})

test('what is found by an index follows the change of the object', () => {
  const { cache } = openCache()
  const section = cache.openSection()
  section.replace([thing('b'), thing('a')], '1')
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
  one.replace([], '2')
  expect(cache.hasSynced()).toBe(false)
  two.replace([], '2')
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
  one.replace([thing('a', '1', 'x', 'one')], '1')
  two.replace([thing('a', '1', 'x', 'two')], '1')
  one.replace([], '2')
  expect(cache.list()).toEqual([thing('a', '1', 'x', 'two')])
})

test('our own write is seen at once, and older news of it are ignored until it has come back', () => {
  const { cache, changes } = openCache()
  const section = cache.openSection()
  section.replace([thing('a', '10')], '10')
  cache.expect(thing('a', '12'))
  cache.expect(thing('b', '13'))
  section.put(thing('a', '11'))
  section.put(thing('a', '12'))
  section.put(thing('b', '13'))
  section.put(thing('a', '14'))
  section.remove(thing('b', '15'))
  expect(changes).toEqual(['mail/a -→10', 'mail/a 10→12', 'mail/b -→13', 'mail/a 12→14', 'mail/b 13→-'])
})

test('a list from before our own write does not take it back, one from after it does', () => {
  const { cache } = openCache()
  const section = cache.openSection()
  section.replace([], '10')
  cache.expect(thing('a', '12'))
  section.replace([], '11')
  expect(cache.list()).toEqual([thing('a', '12')])
  section.replace([], '13')
  expect(cache.list()).toEqual([])
})

test('an answer that comes after the watch has shown something newer is ignored, and so is what no section is responsible for', () => {
  const { cache } = openCache()
  const section = cache.openSection('mail')
  section.replace([thing('a', '100')], '100')
  cache.expect(thing('a', '99'))
  cache.expect(thing('a', '101', 'x', 'elsewhere'))
  expect(cache.list()).toEqual([thing('a', '100')])
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

test('the answer to a write of our own that comes after the deletion does not bring the object back', () => {
  const { cache } = openCache()
  const section = cache.openSection()
  section.replace([thing('a', '5')], '5')
  section.remove(thing('a', '7'))
  cache.expect(thing('a', '6'))
  expect(cache.list()).toEqual([])
  // Made anew under the same name it is another object, and newer.
  cache.expect(thing('a', '9'))
  expect(cache.list()).toEqual([thing('a', '9')])
})

test('a list that is newer than the watch is taken whole, and what the watch brings from before it is ignored', () => {
  const { cache, changes } = openCache()
  const section = cache.openSection()
  section.replace([thing('changed', '5'), thing('gone', '6'), thing('foreign', '7', 'y')], '10')
  changes.length = 0
  cache.catchUp([thing('changed', '12'), thing('new', '13')], '20', ({ owner }) => owner === 'x')
  expect(changes).toEqual(['mail/changed 5→12', 'mail/new -→13', 'mail/gone 6→-'])
  section.put(thing('changed', '11'))
  section.put(thing('gone', '14'))
  section.remove(thing('gone', '15'))
  section.put(thing('new', '13'))
  expect(cache.list().map(({ metadata: { name, resourceVersion } }) => `${name} ${resourceVersion}`)).toEqual([
    'changed 12',
    'foreign 7',
    'new 13',
  ])
  section.put(thing('gone', '21'))
  section.remove(thing('changed', '22'))
  expect(cache.list().map(({ metadata: { name } }) => name)).toEqual(['foreign', 'gone', 'new'])
})

test('what the watch has shown after a list was made is not taken back by it', () => {
  const { cache } = openCache()
  const section = cache.openSection()
  section.replace([thing('later', '25'), thing('changed', '22')], '25')
  cache.catchUp([thing('changed', '12')], '20', () => true)
  expect(cache.list()).toEqual([thing('changed', '22'), thing('later', '25')])
})
