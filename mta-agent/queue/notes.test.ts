import { expect, test } from 'vitest'
import { openQueue, temporaryDirectory } from '#test/builders/queue.ts'

test(
  'the ten thousandth note is the last new one; those that are there can change, and one that goes makes room',
  { timeout: 30_000 },
  async () => {
    using directory = temporaryDirectory()
    await using queue = await openQueue(directory.path)
    const results = await Promise.allSettled(Array.from({ length: 10_001 }, (_, at) => queue.note(`note ${at}`, 'x')))
    const refused = results.filter(({ status }) => status === 'rejected')
    expect(refused).toEqual([{ status: 'rejected', reason: new RangeError('there must be at most 10000 notes, note 10000 was one more') }])
    await queue.note('note 7', 'y')
    await queue.note('note 8', undefined)
    await queue.note('another', 'z')
    await expect(queue.note('one more', 'z')).rejects.toThrow('there must be at most 10000 notes')
    expect([queue.notes().size, queue.notes().get('note 7')]).toEqual([10_000, 'y'])
  },
)
