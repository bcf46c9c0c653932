import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { AddressesUncertain, HolderGone } from './address-holder/client.ts'
import type { Attachment, ManagedAddress, Refusal } from './address-holder/port.ts'
import { ALONE, type Tenure } from './address-plan.ts'
import { ManagedAddresses } from './managed-addresses.ts'

/** With a holder that is the test, and a clock that is vitest's. */

const A = '192.0.2.1'
const B = '192.0.2.2'
const START = Date.parse('2026-11-24T12:00:00Z')
const elapsed = () => Date.now() - START

beforeEach(() => vi.useFakeTimers({ now: START }))
afterEach(() => vi.useRealTimers())

function open({ wanted = [A], tenure = ALONE }: { wanted?: readonly string[]; tenure?: Tenure } = {}) {
  const asked: string[] = []
  const state = {
    wanted: wanted.map((address): ManagedAddress => ({ address })),
    used: [] as readonly string[],
    tenure,
    refused: [] as readonly Refusal[],
    held: [] as readonly string[],
    answer: (): Promise<void> => Promise.resolve(),
    changes: 0,
  }
  const answer = async (): Promise<Attachment> => {
    await state.answer()
    return { held: state.held, refused: state.refused }
  }
  const holder = {
    attach: (addresses: readonly ManagedAddress[], deadline: number) => {
      asked.push(`${elapsed()} attach ${addresses.map(({ address }) => address).join()} until ${deadline - START}`)
      state.held = addresses.map(({ address }) => address).filter((address) => !state.refused.some((one) => one.address === address))
      return answer()
    },
    extend: (deadline: number) => {
      asked.push(`${elapsed()} extend until ${deadline - START}`)
      return answer()
    },
    remove: async () => {
      asked.push(`${elapsed()} remove`)
      await state.answer()
    },
    [Symbol.dispose]: () => void asked.push('close'),
  }
  const warned: string[] = []
  const addresses = new ManagedAddresses({
    holder,
    wanted: () => state.wanted,
    used: () => state.used,
    lifetime: 4_000,
    clock: Date.now,
    sleep: (millis) => new Promise((resolve) => setTimeout(resolve, millis)),
    onChange: () => state.changes++,
    log: { info: () => undefined, warn: (facts, message) => warned.push(`${message} ${JSON.stringify(facts)}`) },
  })
  addresses.hold(() => state.tenure)
  return { addresses, asked, state, warned }
}

const pass = (millis: number) => vi.advanceTimersByTimeAsync(millis)

test('alone: attached at once, extended by an eighth of a right again and again, removed, and the connection closed', async () => {
  const { addresses, asked } = open()
  await pass(1_050)
  expect([addresses.isAttached(A), addresses.isAttached(B), addresses.there()]).toEqual([true, false, [A]])
  await addresses[Symbol.asyncDispose]()
  expect(asked).toEqual(['0 attach 192.0.2.1 until 4000', '500 extend until 4500', '1000 extend until 5000', '1050 remove', 'close'])
  expect([addresses.isAttached(A), addresses.there()]).toEqual([false, []])
})

test('a right that is not renewed: nothing is said any more, and at its end none counts as attached', async () => {
  const { addresses, asked, state } = open({ tenure: { from: START + 300, acts: START + 2_700, right: START + 3_000 } })
  await pass(2_950)
  expect([asked, addresses.isAttached(A)]).toEqual([['300 attach 192.0.2.1 until 3000'], true])
  await pass(1_000)
  expect([addresses.isAttached(A), addresses.report().held, addresses.there()]).toEqual([false, [], [A]])
  await pass(500)
  expect(addresses.there()).toEqual([])
  state.tenure = { from: START, acts: START + 6_700, right: START + 7_000 }
  await pass(100)
  expect([asked.at(-1), addresses.isAttached(A)]).toEqual(['4500 attach 192.0.2.1 until 7000', true])
  await addresses.letGo()
})

test('one that is refused is said so and asked for again; the others are used', async () => {
  const { addresses, state, asked } = open({ wanted: [A, B] })
  const refusal = { address: A, reason: 'InUse', message: '02:00:00:00:00:01 answers for it' } as const
  state.refused = [refusal]
  await addresses.letGo()
  addresses.hold(() => ALONE)
  await pass(50)
  expect(addresses.report()).toEqual({ tried: [A, B], held: [B], refused: [refusal], fault: undefined })
  state.refused = []
  await pass(1_100)
  expect([addresses.report(), asked.filter((one) => one.includes('attach')).length]).toEqual([
    { tried: [A, B], held: [A, B], refused: [], fault: undefined },
    2,
  ])
  await addresses.letGo()
})

test('a holder that dies: not held until it has attached again, and the fault is told once', async () => {
  const { addresses, state, warned } = open()
  await pass(1_050)
  const first = addresses.attachmentOf(A)
  state.answer = () => Promise.reject(new HolderGone('the address holder ended the connection'))
  await pass(3_000)
  expect([addresses.report(), addresses.isAttached(A)]).toEqual([
    { tried: [A], held: [], refused: [], fault: 'the address holder ended the connection' },
    false,
  ])
  expect(warned).toEqual(['addresses not held {"error":"the address holder ended the connection"}'])
  state.answer = () => Promise.resolve()
  await pass(1_100)
  expect([addresses.isAttached(A), first, addresses.attachmentOf(A)]).toEqual([true, 1, 2])
  await addresses.letGo()
})

test('let go before anybody has answered: nothing is held by the answer that comes late', async () => {
  const { addresses, state, asked } = open()
  const { promise, resolve } = Promise.withResolvers<void>()
  state.answer = () => promise
  await pass(50)
  const gone = addresses.letGo()
  resolve()
  await gone
  await pass(2_000)
  expect([addresses.isAttached(A), addresses.there(), asked]).toEqual([false, [], ['0 attach 192.0.2.1 until 4000', '50 remove']])
})

test('a removal that nobody confirms is asked for again, and is done when the kernel has dropped all in any case', async () => {
  const { addresses, state, asked, warned } = open()
  await pass(600)
  state.answer = () => Promise.reject(new AddressesUncertain(START + 4_500, new HolderGone('gone')))
  let goneAt: number | undefined
  void addresses.letGo().then(() => (goneAt = elapsed()))
  await pass(9_000)
  expect([goneAt, asked.length, warned.length]).toEqual([4_500 + 1_250, 2 + 27, 1])
})

test('a holder that can confirm by the next time ends the waiting', async () => {
  const { addresses, state } = open()
  await pass(50)
  state.answer = () => Promise.reject(new AddressesUncertain(START + 4_000, new HolderGone('gone')))
  let goneAt: number | undefined
  void addresses.letGo().then(() => (goneAt = elapsed()))
  await pass(500)
  state.answer = () => Promise.resolve()
  await pass(500)
  expect(goneAt).toBe(650)
})

test('held again before the removal is done: it is removed first', async () => {
  const { addresses, state, asked } = open()
  await pass(50)
  const { promise, resolve } = Promise.withResolvers<void>()
  state.answer = () => promise
  void addresses.letGo()
  addresses.hold(() => state.tenure)
  await pass(300)
  expect(asked.slice(1)).toEqual(['50 remove'])
  resolve()
  await pass(0)
  expect(asked.slice(2)).toEqual(['350 attach 192.0.2.1 until 4350'])
  await addresses.letGo()
})

test('a changed document is followed at once; an address that is taken out stays until its last connection has ended', async () => {
  const { addresses, state, asked } = open({ wanted: [A] })
  await pass(50)
  state.used = [A]
  state.wanted = [{ address: B }]
  addresses.reconsider()
  await pass(0)
  expect([asked.at(-1), addresses.there()]).toEqual([`50 attach ${B},${A} until 4050`, [A, B]])
  state.used = [B]
  await pass(100)
  expect([asked.at(-1), addresses.there()]).toEqual([`100 attach ${B} until 4100`, [B]])
  await addresses.letGo()
})
