import { expect, test, vi } from 'vitest'
import { GroupCommit } from './group-commit.ts'

test('on a full disk what must not wait fails at once, also behind what is tried again until there is room', async () => {
  const said: string[] = []
  const disk = { isFull: true }
  const commits = new GroupCommit<ReturnType<typeof change>>(
    async (changes) => {
      said.push(`commit ${changes.map(({ name }) => name).join()}`)
      if (disk.isFull) {
        // What comes while the disk is busy.
        if (said.length === 1) commits.push(change('refused 1', 'refuse'))
        return { again: changes }
      }
      for (const { done } of changes) done()
      return { again: [] }
    },
    ({ whenFull }) => (whenFull === 'wait' ? undefined : new Error('full')),
  )
  const change = (name: string, whenFull: 'wait' | 'refuse') => ({
    name,
    whenFull,
    sizeBytes: 1,
    done: () => void said.push(`${name} is done`),
    failed: (error: unknown) => void said.push(`${name}: ${String(error)}`),
  })
  commits.push(change('first', 'wait'))
  await vi.waitFor(() => expect(said).toHaveLength(2))
  commits.push(change('refused 2', 'refuse'))
  commits.push(change('second', 'wait'))
  expect(said).toEqual(['commit first', 'refused 1: Error: full', 'refused 2: Error: full'])
  disk.isFull = false
  await vi.waitFor(() => expect(said.at(-1)).toBe('second is done'), { timeout: 10_000 })
  commits.push(change('third', 'refuse'))
  await commits.close()
  expect(said.slice(3)).toEqual(['commit first,second', 'first is done', 'second is done', 'commit third', 'third is done'])
})
