import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { IpFailed, type IpProcess } from './ip-process.ts'
import {
  IPV6_DEFAULT_ROUTES,
  readAnswers,
  readView,
  removeAddress,
  setLifetime,
  SHOW_NEIGHBOURS,
  SHOW_NOTHING,
  SHOW_VIEW,
  solicitNeighbour,
} from './ip-text.ts'
import type { Kernel, Placed } from './port.ts'

const run = promisify(execFile)
const ONCE_TIMEOUT_MILLIS = 2_000

/** The kernel of this network namespace, through `ip`. */
export function openKernel(ip: IpProcess): Kernel {
  return {
    look: async () => {
      const { shown, failed } = await ip.run([], SHOW_VIEW)
      if (failed.size > 0) throw new IpFailed(`ip could not show addresses and routes: ${[...failed.values()].join('; ')}`)
      const { stdout } = await run('ip', [...IPV6_DEFAULT_ROUTES], { timeout: ONCE_TIMEOUT_MILLIS, killSignal: 'SIGKILL' })
      return readView([...shown, JSON.parse(stdout.trim() === '' ? '[]' : stdout)])
    },
    setLifetimes: async (addresses, seconds) => {
      const { failed } = await ip.run(
        addresses.map((one) => setLifetime(one, seconds)),
        SHOW_NOTHING,
      )
      return addresses.flatMap(({ address }, index) => {
        const message = failed.get(index)
        return message === undefined ? [] : [{ address, reason: 'Failed' as const, message }]
      })
    },
    // Whether they are gone is for `look` to say: one that has ended by itself a moment ago fails here.
    remove: async (addresses) => void (await ip.run(addresses.map(removeAddress), SHOW_NOTHING)),
    solicit: async (addresses) => failUnlessDone(await ip.run(addresses.flatMap(solicitNeighbour), SHOW_NOTHING), 'ask the neighbourhood'),
    answers: async (addresses: readonly Placed[]) => {
      const { shown } = await ip.run([], SHOW_NEIGHBOURS)
      return readAnswers(shown, addresses)
    },
  }
}

function failUnlessDone({ failed }: { readonly failed: ReadonlyMap<number, string> }, what: string): void {
  if (failed.size > 0) throw new IpFailed(`ip could not ${what}: ${[...failed.values()].join('; ')}`)
}
