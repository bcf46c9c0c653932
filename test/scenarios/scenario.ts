import type { Stage } from './stage.ts'

/** What a scenario counted and timed, in the order it is shown: numbers carry their unit in the name. */
export type Facts = Readonly<Record<string, string | number>>

/**
 * One promise, staged on a cluster with real processes and real faults. `run` throws when the promise was broken; what it returns is
 * what it counted. A scenario leaves nothing behind that another would trip over: its namespace goes when it ends.
 */
export type Scenario = {
  readonly name: string
  /** The promise, as a sentence. */
  readonly promise: string
  /** 'local' needs faults that only the local cluster can make; 'any' runs on whatever a kubeconfig names. */
  readonly needs: 'local' | 'any'
  /** 'byName': too long for `npm test` and --all, played only when it is named. Always when absent. */
  readonly occasion?: 'always' | 'byName'
  readonly run: (stage: Stage) => Promise<Facts>
}

export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise'
}

/** Throws BrokenPromise with both sides when they differ. */
export function mustEqual(what: string, was: unknown, must: unknown): void {
  const [left, right] = [JSON.stringify(was), JSON.stringify(must)]
  if (left !== right) throw new BrokenPromise(`${what} must be ${right}, was ${left}`)
}

export function must(holds: boolean, promise: string): void {
  if (!holds) throw new BrokenPromise(promise)
}
