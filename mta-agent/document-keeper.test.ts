import { expect, test } from 'vitest'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { DocumentKeeper } from './document-keeper.ts'

const naming = (...addresses: readonly string[]) =>
  ({ spec: { addresses: addresses.map((address) => ({ address })) } }) as unknown as MTAInstance
const FULL = new Error('no space left on device')

function openKeeper() {
  const disk = { isFull: false, isBroken: false, kept: [] as readonly string[] }
  const failures: unknown[] = []
  const keeper = new DocumentKeeper({
    keep: async ({ spec }) => {
      await Promise.resolve()
      if (disk.isFull) throw FULL
      disk.kept = spec.addresses.map(({ address }) => address)
    },
    forget: async () => {
      if (disk.isBroken) throw new Error('input/output error')
      disk.kept = []
    },
    onChange: () => undefined,
    onFailure: (error) => failures.push(error),
  })
  return { disk, keeper, failures }
}

test('what was taken out of the document counts until the new one is kept', async () => {
  const { keeper } = openKeeper()
  await keeper.keep(naming('192.0.2.1', '192.0.2.2'))
  const kept = keeper.keep(naming('192.0.2.2'))
  expect(keeper.addresses()).toEqual(['192.0.2.1', '192.0.2.2'])
  await kept
  expect(keeper.addresses()).toEqual(['192.0.2.2'])
})

test('several at once: what counts holds everything that may be there', async () => {
  const { keeper, disk } = openKeeper()
  await keeper.keep(naming('192.0.2.1'))
  const first = keeper.keep(naming('192.0.2.2'))
  const second = keeper.keep(naming('192.0.2.3'))
  await first
  expect(disk.kept.every((address) => keeper.addresses().includes(address))).toBe(true)
  expect(keeper.addresses()).toContain('192.0.2.3')
  await second
  expect([keeper.addresses(), disk.kept]).toEqual([['192.0.2.3'], ['192.0.2.3']])
})

test('on a full disk the old one is taken away, for it names what others may have by then', async () => {
  const { keeper, disk, failures } = openKeeper()
  await keeper.keep(naming('192.0.2.1'))
  disk.isFull = true
  await keeper.keep(naming('192.0.2.2'))
  expect([disk.kept, keeper.addresses(), failures]).toEqual([[], [], [FULL]])
})

test('one that can neither be replaced nor taken away goes on counting', async () => {
  const { keeper, disk } = openKeeper()
  await keeper.keep(naming('192.0.2.1'))
  Object.assign(disk, { isFull: true, isBroken: true })
  await keeper.keep(naming('192.0.2.2'))
  expect(keeper.addresses()).toContain('192.0.2.1')
})
