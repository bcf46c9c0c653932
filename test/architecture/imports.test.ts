import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

/** `folders`: or single files of others. */
type Allowed = { readonly folders: readonly string[]; readonly packages: readonly string[] }

/**
 * Who may import whom. A folder sees itself, what is listed here, node:* where it says so, and nothing else.
 * Adding a word to this table is an architecture change: say why in the commit.
 */
const MAY_IMPORT: Record<string, Allowed> = {
  crds: { folders: [], packages: ['zod', 'generate.ts: node:*', 'generate.ts: yaml'] },
  kube: { folders: [], packages: ['undici', 'yaml', 'node:*'] },
  operator: {
    folders: ['crds', 'kube', 'operator/certificates', 'operator/controllers', 'operator/planning', 'mta-agent/contract'],
    packages: ['node:*', 'pino', 'prom-client', 'zod', 'yaml'],
  },
  'operator/certificates': { folders: [], packages: ['node:*'] },
  'operator/controllers': { folders: ['crds', 'operator/planning'], packages: [] },
  'operator/planning': { folders: ['crds', 'mta-agent/contract'], packages: [] },
  'mta-agent': {
    folders: [
      'crds',
      'kube',
      'mta-agent/admin',
      // Its side of the socket, and the words. The holder itself is another process.
      'mta-agent/address-holder/client.ts',
      'mta-agent/address-holder/lifetimes.ts',
      'mta-agent/address-holder/port.ts',
      'mta-agent/bounces',
      'mta-agent/contract',
      'mta-agent/delivery',
      'mta-agent/domain',
      'mta-agent/queue',
      'mta-agent/replication',
      'mta-agent/replication/coordinator',
      'mta-agent/replication/member',
      'mta-agent/shaping',
      'mta-agent/submission',
    ],
    packages: ['node:*', 'pino', 'prom-client', 'yaml', 'zod'],
  },
  'mta-agent/contract': { folders: ['crds'], packages: ['zod'] },
  'mta-agent/domain': { folders: ['crds'], packages: [] },
  'mta-agent/shaping': { folders: ['crds', 'mta-agent/domain'], packages: [] },
  'mta-agent/queue': { folders: ['crds', 'mta-agent/domain'], packages: ['node:*', 'lmdb-queue-store.ts: lmdb'] },
  'mta-agent/replication': {
    folders: ['crds', 'mta-agent/contract', 'mta-agent/domain', 'mta-agent/queue'],
    packages: ['peer-tls.ts: node:*'],
  },
  'mta-agent/replication/coordinator': {
    folders: ['crds', 'kube', 'mta-agent/contract', 'mta-agent/replication', 'mta-agent/replication/log-link'],
    packages: ['node:*', 'zod'],
  },
  'mta-agent/replication/log-link': {
    folders: ['mta-agent/domain', 'mta-agent/queue', 'mta-agent/replication'],
    packages: ['node:*', 'zod'],
  },
  // A process of its own, as small as can be: of the product it takes the spelling of addresses, of packages none.
  'mta-agent/address-holder': { folders: ['crds'], packages: ['node:*'] },
  'mta-agent/replication/simulation': { folders: ['mta-agent/replication'], packages: ['main.ts: node:*', 'mutant.ts: node:*'] },
  'mta-agent/replication/member': {
    folders: [
      'mta-agent/contract',
      'mta-agent/domain',
      'mta-agent/queue',
      'mta-agent/replication',
      'mta-agent/replication/coordinator',
      'mta-agent/replication/log-link',
    ],
    packages: ['node:*'],
  },
  'mta-agent/submission': { folders: ['crds', 'mta-agent/domain', 'mta-agent/queue'], packages: ['node:*', 'smtp-server'] },
  'mta-agent/bounces': { folders: ['crds', 'mta-agent/domain'], packages: [] },
  'mta-agent/delivery': {
    folders: ['crds', 'mta-agent/bounces', 'mta-agent/domain', 'mta-agent/queue', 'mta-agent/shaping'],
    packages: ['node:*'],
  },
  'mta-agent/admin': {
    folders: ['crds', 'mta-agent/contract', 'mta-agent/domain', 'mta-agent/queue', 'mta-agent/shaping'],
    packages: ['node:*', 'prom-client'],
  },
}
const ALIASES = { '#crds/': 'crds/', '#kube/': 'kube/', '#operator/': 'operator/', '#agent/': 'mta-agent/', '#test/': 'test/' }
const IMPORT = /(?<!\.)\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g

const sources = globSync('{crds,kube,operator,mta-agent}/**/*.ts').filter((file) => !file.endsWith('.test.ts'))

test.each(sources)('%s imports only what its folder may', (file) => {
  const allowed = MAY_IMPORT[folderOf(file)]
  expect(allowed, `${folderOf(file)} is missing from MAY_IMPORT`).toBeDefined()
  expect(importsOf(file).filter((spec) => !permits(allowed!, file, spec))).toEqual([])
})

function permits(allowed: Allowed, file: string, spec: string): boolean {
  const target = resolve(file, spec)
  if (target !== undefined) {
    const mayUse = [folderOf(file), ...allowed.folders]
    return (mayUse.includes(folderOf(target)) && !/(^|\/)main\.ts$/.test(target)) || mayUse.includes(target)
  }
  const name = file.slice(file.lastIndexOf('/') + 1)
  return allowed.packages.some((entry) => {
    const [only, pattern] = entry.includes(': ') ? entry.split(': ') : [undefined, entry]
    if (only !== undefined && only !== name) return false
    return pattern === 'node:*' ? spec.startsWith('node:') : spec === pattern || spec.startsWith(`${pattern}/`)
  })
}

function importsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].map((match) => match[1]!)
}

function resolve(file: string, spec: string): string | undefined {
  if (spec.startsWith('.')) return normalize(join(dirname(file), spec))
  const alias = Object.entries(ALIASES).find(([prefix]) => spec.startsWith(prefix))
  return alias && spec.replace(alias[0], alias[1])
}

/** `operator/planning/x.ts` → `operator/planning`; `crds/x.ts` → `crds`. A folder deeper down counts as its parent, unless it has its own row. */
function folderOf(file: string): string {
  const folder = dirname(file)
  return folder in MAY_IMPORT ? folder : folder.split('/').slice(0, 2).join('/')
}
