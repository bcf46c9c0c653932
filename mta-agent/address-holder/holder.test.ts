import { expect, test, vi } from 'vitest'
import { Holder, type HolderPorts } from './holder.ts'
import type { Kernel, Placed } from './port.ts'

/** A kernel that does as it is told, by a clock that stands unless a call takes time. */
function openFake(change: Partial<Kernel> = {}, others: Partial<HolderPorts> = {}) {
  const calls: string[] = []
  const trouble: string[] = []
  const announced: string[] = []
  const there = new Map<string, Placed>()
  const fake = { now: 0, callTakes: 0, calls, trouble, announced, there }
  const kernel: Kernel = {
    look: async () => ({
      interfaces: [
        {
          name: 'eth0',
          isUp: true,
          hasNeighbours: true,
          addresses: [
            { address: '198.18.0.1', prefixLength: 24, secondsLeft: Number.POSITIVE_INFINITY },
            ...[...there.values()].map(({ address, prefixLength }) => ({ address, prefixLength, secondsLeft: 4 })),
          ],
        },
      ],
      defaultInterface: { 4: 'eth0' },
    }),
    setLifetimes: async (addresses, seconds) => {
      fake.now += fake.callTakes
      for (const one of addresses) there.set(one.address, one)
      calls.push(`set ${addresses.map(({ address }) => address).join(' ')} ${seconds} s`)
      return []
    },
    remove: async (addresses) => {
      for (const { address } of addresses) there.delete(address)
      calls.push(`remove ${addresses.map(({ address }) => address).join(' ')}`)
    },
    solicit: async (addresses) => void calls.push(`ask for ${addresses.map(({ address }) => address).join(' ')}`),
    answers: async () => [],
    ...change,
  }
  const ports: HolderPorts = {
    kernel,
    clock: () => fake.now,
    sleep: async (millis) => void (fake.now += millis),
    announce: async (addresses) => void announced.push(...addresses.map(({ address }) => address)),
    onTrouble: (message) => trouble.push(message),
    ...others,
  }
  return { ...fake, fake, holder: new Holder(ports) }
}

const A = { address: '198.18.0.7' }
const B = { address: '198.18.0.8' }

test('the neighbourhood is asked, all lifetimes are given in one go, and what is new is announced', async () => {
  const { holder, calls, announced } = openFake()
  const first = await holder.attach([A], 4_900)
  const second = await holder.attach([A, B], 4_900)
  expect([first, second]).toEqual([
    { held: [A.address], refused: [] },
    { held: [A.address, B.address], refused: [] },
  ])
  expect([calls, announced]).toEqual([
    ['ask for 198.18.0.7', 'set 198.18.0.7 4 s', 'ask for 198.18.0.8', 'set 198.18.0.7 198.18.0.8 4 s'],
    ['198.18.0.7', '198.18.0.8'],
  ])
  await holder.remove()
})

test('what is not wanted any more is removed', async () => {
  const { holder, calls } = openFake()
  await holder.attach([A, B], 4_900)
  expect(await holder.attach([B], 4_900)).toEqual({ held: [B.address], refused: [] })
  expect(calls).toContain('remove 198.18.0.7')
  await holder.remove()
})

test('one that answers elsewhere is refused, the others are attached', async () => {
  const { holder } = openFake({ answers: async () => [{ address: A.address, linkAddress: '02:00:00:00:00:01' }] })
  expect(await holder.attach([A, B], 4_900)).toEqual({
    held: [B.address],
    refused: [{ address: A.address, reason: 'InUse', message: '02:00:00:00:00:01 answers for it' }],
  })
  await holder.remove()
})

test('a call that took so long that the lifetime outlives the deadline is corrected; with no second left they are removed at once', async () => {
  const { holder, fake, calls } = openFake()
  await holder.attach([A], 4_900)
  fake.now = 1_300
  fake.callTakes = 2_500
  expect(await holder.extend(6_200)).toEqual({ held: [], refused: [] })
  // At 1300 there are 4 s until 6200. Done at 3800 they would end at 7800, so 2 s. Done at 6300, the deadline is over.
  expect(calls.slice(2)).toEqual(['set 198.18.0.7 4 s', 'set 198.18.0.7 2 s', 'remove 198.18.0.7'])
})

test('a deadline that comes too late for what is held ends it: the next one begins from nothing', async () => {
  const { holder, fake, calls, announced } = openFake()
  await holder.attach([A], 4_900)
  fake.now = 5_000
  expect(await holder.extend(9_900)).toEqual({ held: [], refused: [] })
  expect(await holder.attach([A], 9_900)).toEqual({ held: [A.address], refused: [] })
  expect([calls.slice(2), announced]).toEqual([
    ['remove 198.18.0.7', 'ask for 198.18.0.7', 'set 198.18.0.7 4 s'],
    [A.address, A.address],
  ])
  await holder.remove()
})

test('a deadline that passes while the neighbourhood is asked leaves nothing behind', async () => {
  const { holder, there } = openFake()
  expect(await holder.attach([A], 900)).toMatchObject({ held: [], refused: [{ address: A.address, reason: 'TooLate' }] })
  expect(there.size).toBe(0)
})

test('a deadline far away is not taken at its word: who says nothing for ten seconds holds nothing', async () => {
  vi.useFakeTimers()
  try {
    const { holder, fake, there, calls } = openFake()
    await holder.attach([A], 1e12)
    fake.now = 10_000
    await vi.advanceTimersByTimeAsync(10_000)
    expect([there.size, calls]).toEqual([0, ['ask for 198.18.0.7', 'set 198.18.0.7 9 s', 'remove 198.18.0.7']])
  } finally {
    vi.useRealTimers()
  }
})

test('removed while being attached: not attached', async () => {
  const { holder, there } = openFake({}, { sleep: () => holder.remove() })
  await expect(holder.attach([A], 4_900)).rejects.toThrow(expect.objectContaining({ name: 'Removed' }))
  expect(there.size).toBe(0)
})

test('with nobody to extend them they are removed at the deadline, not when the kernel gets to it', async () => {
  vi.useFakeTimers()
  try {
    const { holder, fake, there, trouble } = openFake()
    await holder.attach([A], 4_900)
    fake.now = 4_900
    await vi.advanceTimersByTimeAsync(4_900 - 300)
    expect([there.size, trouble]).toEqual([0, []])
  } finally {
    vi.useRealTimers()
  }
})

test('a kernel that fails ends in removal, and says so', async () => {
  const { holder, there, calls } = openFake({
    setLifetimes: async () => {
      throw new Error('ip gave no answer in 1000 ms')
    },
  })
  there.set(A.address, { ...A, family: 4, prefixLength: 32, interface: 'eth0', hasNeighbours: true })
  await expect(holder.attach([A], 4_900)).rejects.toThrow('ip gave no answer in 1000 ms')
  expect([calls, there.size]).toEqual([['remove 198.18.0.7'], 0])
})

test('what the kernel refuses is told and not held', async () => {
  const { holder } = openFake({ setLifetimes: async () => [{ address: A.address, reason: 'Failed', message: 'No such device' }] })
  expect(await holder.attach([A, B], 4_900)).toEqual({
    held: [B.address],
    refused: [{ address: A.address, reason: 'Failed', message: 'No such device' }],
  })
  await holder.remove()
})

test('removal is confirmed by looking: an address that is still there is no success', async () => {
  const { holder, there } = openFake({ remove: async () => {} })
  there.set(A.address, { ...A, family: 4, prefixLength: 32, interface: 'eth0', hasNeighbours: true })
  await expect(holder.remove([A.address])).rejects.toThrow('the kernel still has 198.18.0.7')
})

test('what a holder before this one left is removed by name', async () => {
  const { holder, there, calls } = openFake()
  there.set(A.address, { ...A, family: 4, prefixLength: 32, interface: 'eth0', hasNeighbours: true })
  await holder.remove([A.address, B.address, '198.18.0.1'])
  expect([there.size, calls]).toEqual([0, ['remove 198.18.0.7']])
})
