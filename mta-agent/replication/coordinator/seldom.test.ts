import { expect, test } from 'vitest'
import { Seldom } from './seldom.ts'

test('the same is said once a minute, another thing at once', () => {
  let now = 0
  const said: unknown[] = []
  const seldom = new Seldom(
    () => now,
    ({ facts }) => said.push([now, facts['because']]),
  )
  const say = (at: number, because: string): void => {
    now = at
    seldom.say('warn', 'peer turned away', { because })
  }
  say(0, '192.0.2.1 port 1111 was nameless')
  say(10, '192.0.2.1 port 2222 was nameless')
  say(20, '192.0.2.2 port 1111 was nameless')
  say(60_000, '192.0.2.1 port 3333 was nameless')
  expect(said).toEqual([
    [0, '192.0.2.1 port 1111 was nameless'],
    [20, '192.0.2.2 port 1111 was nameless'],
    [60_000, '192.0.2.1 port 3333 was nameless'],
  ])
})
