import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { generateFiles } from './generate.ts'

test.each([...generateFiles()])('%s is what `npm run crds` writes', (path, text) => {
  expect(readFileSync(path, 'utf8')).toBe(text)
})
