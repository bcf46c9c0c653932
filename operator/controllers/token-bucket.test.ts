import { expect, test } from 'vitest'
import { TokenBucket } from './token-bucket.ts'

test('a burst goes at once, then one at a time; a pause fills it again, to the burst and no further', () => {
  const bucket = new TokenBucket({ burst: 2, perSecond: 10 })
  expect([0, 0, 0, 0, 300, 60_000, 60_000, 60_000].map((now) => Math.round(bucket.take(now)))).toEqual([0, 0, 100, 200, 0, 0, 0, 100])
})
