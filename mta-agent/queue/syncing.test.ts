import { expect, test } from 'vitest'
import { message, openQueue, temporaryDirectory } from '#test/builders/queue.ts'

test('whoever watches the disk hears when a write begins and when it has returned, before those who wait for it', async () => {
  using directory = temporaryDirectory()
  const heard: string[] = []
  await using queue = await openQueue(directory.path, { onSyncing: (underWay) => heard.push(underWay ? 'begun' : 'returned') })
  await queue.append(message()).then(() => heard.push('stored'))
  await queue.append(message()).then(() => heard.push('stored'))
  expect(heard).toEqual(['begun', 'returned', 'stored', 'begun', 'returned', 'stored'])
})
