import { expect, test } from 'vitest'
import type { Page, WatchEvent } from './client.ts'
import { backOffMillis, type Clock } from './clock.ts'
import { KubeError, type KubeFailure } from './errors.ts'
import { type ReflectorReport, runReflector } from './reflector.ts'
import { type AnyObject, PODS } from './resources.ts'

/**
 * What the API server says, answer by answer; when there is none left, the run is stopped. Against the real server the same is tried in
 * reflector.apiserver.test.ts.
 */
type Answer =
  | { readonly list: readonly string[]; readonly at: string }
  | {
      readonly watch: readonly (readonly [type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', name: string, at: string])[]
      readonly breaks?: Error
    }
  | { readonly fail: Error }

const pod = (name: string, resourceVersion: string): AnyObject => ({ metadata: { namespace: 'mail', name, resourceVersion } })
const failure = (is: KubeFailure) => new KubeError(is, is.kind)
const GONE = failure({ kind: 'gone' })
const REFUSED = failure({ kind: 'unavailable', reason: 'refused' })

async function play(answers: readonly Answer[], { sinkThrows, isGone }: { readonly sinkThrows?: Error; readonly isGone?: boolean } = {}) {
  const stop = new AbortController()
  const [asked, got, reports, slept]: [string[], string[], ReflectorReport[], number[]] = [[], [], [], []]
  let now = 0
  const script = [...answers]
  const next = (): Answer => {
    const answer = script.shift()
    if (answer === undefined) stop.abort()
    stop.signal.throwIfAborted()
    return answer!
  }
  const clock: Clock = {
    monotonic: () => now,
    wall: () => now,
    random: () => 0.5,
    sleep: async (millis) => {
      slept.push(millis)
      now += millis
    },
  }
  const client = {
    async *listPages(): AsyncGenerator<Page<never>, void, void> {
      asked.push('list')
      const answer = next()
      if ('fail' in answer) throw answer.fail
      if (!('list' in answer)) throw new Error('the script has no list here')
      yield { items: answer.list.map((name) => pod(name, answer.at)) as never[], resourceVersion: answer.at }
    },
    async *watch(_: unknown, options: { readonly resourceVersion: string }): AsyncGenerator<WatchEvent<never>, void, void> {
      asked.push(`watch ${options.resourceVersion}`)
      const answer = next()
      if ('fail' in answer) throw answer.fail
      if (!('watch' in answer)) throw new Error('the script has no watch here')
      for (const [type, name, at] of answer.watch) yield { type, object: pod(name, at) } as WatchEvent<never>
      now += 60_000
      if (answer.breaks !== undefined) throw answer.breaks
    },
  }
  const say = (word: string) => (object: AnyObject) => {
    got.push(`${word} ${object.metadata.name}`)
    if (sinkThrows !== undefined) throw sinkThrows
  }
  const sink = {
    replace: (objects: readonly AnyObject[]) => void got.push(`= ${objects.map(({ metadata }) => metadata.name).join(' ')}`),
    put: say('+'),
    remove: say('-'),
  }
  await runReflector(
    {
      client,
      of: PODS,
      selection: {},
      sink,
      clock,
      ...(isGone === undefined ? {} : { isGone: async () => isGone }),
      onReport: (report) => reports.push(report),
    },
    stop.signal,
  )
  return { asked, got, slept, lists: reports.filter(({ kind }) => kind === 'listed') }
}

test('lists once, watches from there, and goes on where the last watch ended', async () => {
  const { asked, got, slept } = await play([
    { list: ['a', 'b'], at: '10' },
    {
      watch: [
        ['ADDED', 'c', '11'],
        ['DELETED', 'a', '12'],
        ['BOOKMARK', '', '20'],
      ],
    },
    { watch: [['MODIFIED', 'b', '21']], breaks: REFUSED },
  ])
  expect({ asked, got, slept }).toEqual({
    asked: ['list', 'watch 10', 'watch 20', 'watch 21'],
    got: ['= a b', '+ c', '- a', '+ b'],
    slept: [600],
  })
})

test('a watch that is too old lists again', async () => {
  const { asked, lists } = await play([{ list: ['a'], at: '10' }, { watch: [], breaks: GONE }, { list: [], at: '99' }, { watch: [] }])
  expect(asked).toEqual(['list', 'watch 10', 'list', 'watch 99', 'watch 99'])
  expect(lists).toEqual([
    { kind: 'listed', objects: 1, because: 'Start' },
    { kind: 'listed', objects: 0, because: 'TooOld' },
  ])
})

test('failures in a row wait longer and longer, and never list again by themselves', async () => {
  const fails = Array.from({ length: 4 }, () => ({ fail: REFUSED }))
  const { asked, slept } = await play([{ list: [], at: '10' }, ...fails, { watch: [['BOOKMARK', '', '11']] }, { fail: REFUSED }])
  expect(asked).toEqual(['list', ...Array.from({ length: 5 }, () => 'watch 10'), 'watch 11', 'watch 11'])
  expect(slept).toEqual([600, 1200, 2400, 4800, 600])
})

test('the server may ask for a longer wait', async () => {
  const busy = failure({ kind: 'tooManyRequests', retryAfterSeconds: 9 })
  expect((await play([{ fail: busy }, { list: [], at: '1' }])).slept).toEqual([9000])
})

test('a list that fails is tried again: no kind yet, no rights yet, no server', async () => {
  const kinds: KubeFailure[] = [{ kind: 'notFound' }, { kind: 'forbidden' }, { kind: 'unauthorized' }, { kind: 'serverError', code: 500 }]
  const { asked, got } = await play([...kinds.map((is) => ({ fail: failure(is) })), { list: ['a'], at: '1' }])
  expect([asked, got]).toEqual([['list', 'list', 'list', 'list', 'list', 'watch 1'], ['= a']])
})

test('where the rights are gone with the namespace there is nothing, until it comes back', async () => {
  const forbidden = { fail: failure({ kind: 'forbidden' }) }
  const answers = [forbidden, { list: ['a'], at: '7' }]
  expect((await play(answers, { isGone: true })).got).toEqual(['= ', '= a'])
  expect((await play(answers, { isGone: false })).got).toEqual(['= a'])
  expect((await play([{ fail: REFUSED }, { list: ['a'], at: '7' }], { isGone: true })).got).toEqual(['= a'])
})

test('a throw of the sink ends it, for the copy can no longer be trusted', async () => {
  const answers: Answer[] = [{ list: [], at: '1' }, { watch: [['ADDED', 'a', '2']] }]
  await expect(play(answers, { sinkThrows: new Error('a defect') })).rejects.toThrow('a defect')
})

test('the wait doubles up to its cap, and chance takes up to half of it', () => {
  const backOff = { firstMillis: 100, maxMillis: 1000 }
  expect([1, 2, 3, 4, 5, 99].map((failures) => backOffMillis(backOff, failures, 0))).toEqual([50, 100, 200, 400, 500, 500])
  expect(backOffMillis(backOff, 99, 0.999)).toBeLessThan(1000)
})
