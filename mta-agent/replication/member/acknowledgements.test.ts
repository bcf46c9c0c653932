import { expect, test } from 'vitest'
import { Acknowledgements } from './acknowledgements.ts'

/** What each of these clients has been told so far. */
function clientsOf(acknowledgements: Acknowledgements, sequences: readonly number[]) {
  const told = sequences.map((): string => 'nothing')
  for (const [index, sequence] of sequences.entries()) {
    void acknowledgements.wait(sequence).then(
      (how) => (told[index] = how),
      (error: unknown) => (told[index] = String(error)),
    )
  }
  return async () => {
    await new Promise(setImmediate)
    return told
  }
}

test('each client waits until its entry is committed, whatever order they ask in', async () => {
  const acknowledgements = new Acknowledgements()
  const told = clientsOf(acknowledgements, [3, 1, 2, 9])
  expect(await told()).toEqual(['nothing', 'nothing', 'nothing', 'nothing'])
  acknowledgements.note({ sequence: 2, how: 'inSync' })
  expect(await told()).toEqual(['nothing', 'inSync', 'inSync', 'nothing'])
  acknowledgements.note({ sequence: 8, how: 'alone' })
  expect(await told()).toEqual(['alone', 'inSync', 'inSync', 'nothing'])
})

test('what is committed already is told at once', async () => {
  const acknowledgements = new Acknowledgements()
  acknowledgements.note({ sequence: 5, how: 'inSync' })
  expect(await clientsOf(acknowledgements, [5, 6])()).toEqual(['inSync', 'nothing'])
})

test('a set of one under Strict refuses, until somebody is in sync again', async () => {
  const acknowledgements = new Acknowledgements()
  const told = clientsOf(acknowledgements, [1, 2])
  acknowledgements.note({ sequence: 1, how: 'refuse' })
  acknowledgements.note({ sequence: 2, how: 'inSync' })
  expect(await told()).toEqual(['NotCommitted: NoStandbyInSync', 'inSync'])
})

test('when the reign ends, those who wait and those who come are told that another took over', async () => {
  const acknowledgements = new Acknowledgements()
  acknowledgements.note({ sequence: 5, how: 'inSync' })
  const waiting = clientsOf(acknowledgements, [6])
  acknowledgements.end()
  const late = clientsOf(acknowledgements, [4])
  expect([await waiting(), await late()]).toEqual([['NotCommitted: NotPrimary'], ['NotCommitted: NotPrimary']])
})
