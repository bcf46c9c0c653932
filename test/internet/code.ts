import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the small internet is made of, as one word: one that was started from other sources is not the one that is asked for. */
export function codeOfInternet(): string {
  const hash = createHash('sha256')
  const sources = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  for (const name of sources.toSorted()) hash.update(`${name}\n`).update(readFileSync(join(import.meta.dirname, name)))
  return hash.digest('hex').slice(0, 16)
}
