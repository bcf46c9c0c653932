import { expect, test } from 'vitest'
import { runScrubbing } from './scrubbing.ts'

const MINUTE = 60_000
const SOUND = { messages: 3, contentBytes: 60, damaged: 0 }

test('the queue is checked some minutes after the start and then once a day; neither damage nor a failure ends that', async () => {
  const ended = new AbortController()
  const said: string[] = []
  const waits: number[] = []
  const answers = [
    Promise.resolve(SOUND),
    Promise.resolve({ ...SOUND, damaged: 1 }),
    Promise.reject(new Error('EIO')),
    Promise.resolve(SOUND),
  ]
  answers[2]?.catch(() => undefined)
  await runScrubbing(
    {
      scrub: () => answers[waits.length - 1]!,
      sleep: (millis) => {
        waits.push(millis / MINUTE)
        if (waits.length > answers.length) ended.abort()
        return Promise.resolve()
      },
      random: () => 0.5,
      log: {
        info: (facts, text) => void said.push(`info ${text} ${JSON.stringify(facts)}`),
        error: (facts, text) => void said.push(`error ${text} ${'error' in facts ? String(facts.error) : JSON.stringify(facts)}`),
      },
    },
    ended.signal,
  )
  expect(waits).toEqual([15, 1440, 1440, 1440, 1440])
  expect(said).toEqual([
    'info queue checked {"messages":3,"contentBytes":60,"damaged":0}',
    'error queue checked {"messages":3,"contentBytes":60,"damaged":1}',
    'error queue not checked Error: EIO',
    'info queue checked {"messages":3,"contentBytes":60,"damaged":0}',
  ])
})

test('a check that is cut off by the end of the process says nothing', async () => {
  const ended = new AbortController()
  const unheard = (_facts: object, text: string): never => expect.unreachable(text)
  const silent = { info: unheard, error: unheard }
  const scrub = (signal: AbortSignal) => {
    ended.abort()
    return Promise.reject(signal.reason as Error)
  }
  await runScrubbing({ scrub, sleep: () => Promise.resolve(), random: () => 0, log: silent }, ended.signal)
  expect(ended.signal.aborted).toBe(true)
})
