import { expect, test } from 'vitest'
import { huntMutant } from './mutant.ts'
import type { Mutation } from './mutation.ts'
import { OF_THE_MODEL } from './mutations-of-the-model.ts'
import { OF_THE_RULES } from './mutations-of-the-rules.ts'

const MUTATIONS: Readonly<Record<string, Mutation>> = { ...OF_THE_MODEL, ...OF_THE_RULES }

const SEEDS = 2_000

test.each(Object.entries(MUTATIONS))(`%s is caught within ${SEEDS} seeds`, { timeout: 300_000 }, async (_, { edits, profile }) => {
  expect(await huntMutant({ edits, profile, first: 1, seeds: SEEDS })).toMatchObject({ violation: expect.any(String) })
})

test('sources without edits are caught at nothing', { timeout: 60_000 }, async () => {
  expect(await huntMutant({ edits: [], profile: undefined, first: 1, seeds: 200 })).toBeUndefined()
})

test('an edit that has lost its place is an error, not a mutation', async () => {
  const edits = [{ file: 'rights.ts', from: 'no such words', to: '' }]
  await expect(huntMutant({ edits, profile: undefined, first: 1, seeds: 1 })).rejects.toThrow('an edit must have one place in')
})
