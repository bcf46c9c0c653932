import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

type Locked = { readonly version?: string; readonly resolved?: string; readonly optionalDependencies?: Readonly<Record<string, string>> }
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, Locked> }

test('the lock file names no registry', () => {
  expect(Object.entries(packages).filter(([, locked]) => locked.resolved !== undefined)).toEqual([])
})

// A registry that does not serve a package for another platform makes `npm install` drop it from the lock file; `npm ci` then refuses the whole file.
test('every package for another platform is locked, so that npm ci takes the file', () => {
  const missing = Object.values(packages).flatMap((locked) =>
    Object.keys(locked.optionalDependencies ?? {}).filter((name) => name.startsWith('@') && packages[`node_modules/${name}`] === undefined),
  )
  expect(missing).toEqual([])
})
