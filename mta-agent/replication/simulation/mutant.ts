import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Mutation } from './mutation.ts'

export type Found = { readonly seed: number; readonly profile: string; readonly violation: string } | undefined
type Order = {
  readonly edits: Mutation['edits']
  readonly profile: Mutation['profile'] | undefined
  readonly first: number
  readonly seeds: number
}

/** Plays seeds on sources with these edits, in a thread of its own, until one fails. No file is changed. */
export function huntMutant(order: Order): Promise<Found> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: order, execArgv: [] })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the thread of a mutant must answer, ended with ${code}`)))
  })
}

/** Throws unless each edit changes exactly one place: a mutation that has lost its place would be a test of nothing. */
function edited(file: string, edits: Mutation['edits']): string {
  return edits.reduce(
    (source, { from, to }) => {
      const parts = source.split(from)
      if (parts.length !== 2) throw new Error(`an edit must have one place in ${file}, has ${parts.length - 1}: ${from}`)
      return parts.join(to)
    },
    readFileSync(file, 'utf8'),
  )
}

async function hunt({ edits, profile: wanted, first, seeds }: Order): Promise<Found> {
  const folder = new URL('../', import.meta.url)
  const files = [...new Set(edits.map(({ file }) => file))]
  const sources = new Map(
    files.map((file) => {
      const url = new URL(file, folder)
      return [
        url.href,
        edited(
          fileURLToPath(url),
          edits.filter((one) => one.file === file),
        ),
      ]
    }),
  )
  registerHooks({
    load: (url, context, next) => {
      const source = sources.get(url)
      return source === undefined ? next(url, context) : { format: 'module-typescript', source, shortCircuit: true }
    },
  })
  const { runSeed } = (await import(new URL('run.ts', import.meta.url).href)) as typeof import('./run.ts')
  for (let seed = first; seed < first + seeds; seed++) {
    const { violation, profile } = runSeed(seed, { profile: wanted })
    if (violation !== undefined) return { seed, profile, violation }
  }
  return undefined
}

if (!isMainThread && workerData !== null && typeof workerData === 'object' && 'edits' in workerData) {
  parentPort?.postMessage(await hunt(workerData as Order))
}
