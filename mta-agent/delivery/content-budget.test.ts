import { expect, test } from 'vitest'
import { ContentBudget } from './content-budget.ts'

const never = new AbortController().signal

/** Reserves, and writes down when it got it. */
function ask(budget: ContentBudget, name: string, bytes: number, got: string[], signal = never): Promise<Disposable | 'stopped'> {
  const asked = budget.reserve(bytes, signal)
  void asked.then((answer) => got.push(answer === 'stopped' ? `${name} stopped` : name))
  return asked
}
const free = (held: Disposable | 'stopped'): void => (held === 'stopped' ? undefined : held[Symbol.dispose]())

test('what does not fit waits its turn, and nobody overtakes', async () => {
  const budget = new ContentBudget(10)
  const got: string[] = []
  const a = await ask(budget, 'a', 8, got)
  const b = ask(budget, 'b', 5, got)
  const c = ask(budget, 'c', 1, got)
  expect(got).toEqual(['a'])
  free(a)
  await Promise.all([b, c])
  expect(got).toEqual(['a', 'b', 'c'])
})

test('what is larger than everything goes alone', async () => {
  const budget = new ContentBudget(10)
  const got: string[] = []
  const large = await ask(budget, 'large', 100, got)
  const small = ask(budget, 'small', 1, got)
  expect(got).toEqual(['large'])
  free(large)
  await small
  expect(got).toEqual(['large', 'small'])
})

test('a waiter that is stopped makes way', async () => {
  const budget = new ContentBudget(10)
  const got: string[] = []
  const stop = new AbortController()
  await ask(budget, 'a', 8, got)
  const b = ask(budget, 'b', 5, got, stop.signal)
  const c = ask(budget, 'c', 2, got)
  stop.abort()
  await Promise.all([b, c])
  expect(got).toEqual(['a', 'b stopped', 'c'])
})
