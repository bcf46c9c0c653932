import { openCoordinator } from '#agent/replication/coordinator/open-coordinator.ts'
import type { CoordinatorSettings, FromCoordinator, ToCoordinator } from '#agent/replication/coordinator/messages.ts'
import { monotonicMillis } from '#agent/replication/monotonic-clock.ts'

/**
 * A process with a coordinator and a main thread that has no mail: its log is a number, and is on the disk at once; a log link confirms whatever
 * was appended. It tells its parent what the coordinator says, and when it may act. To be forked; killed and paused as a real one.
 */

/** From the parent. `append`: one more entry, on the primary. `confirms`: whether the log links of followers say anything. */
export type Order =
  | { readonly kind: 'start'; readonly settings: Omit<CoordinatorSettings, 'cell'> }
  | { readonly kind: 'post'; readonly message: ToCoordinator }
  | { readonly kind: 'append' }
  | { readonly kind: 'confirms'; readonly confirms: boolean }

/** To the parent. `at` is on the clock that all processes of the machine share. */
export type Report =
  | { readonly kind: 'said'; readonly at: number; readonly message: FromCoordinator }
  | { readonly kind: 'acts'; readonly at: number; readonly acts: boolean }

const report = (message: Report): void => void process.send?.(message)
const LOOK_MILLIS = 2

let confirms = true
let last = 0
let leads: number | undefined
const followers = new Set<number>()
let coordinator: ReturnType<typeof openCoordinator> | undefined

const post = (message: ToCoordinator): void => coordinator?.post(message)

function confirmAll(): void {
  if (confirms) for (const session of followers) post({ kind: 'confirmed', session, sequence: last, complete: true })
}

type Deeds = { readonly [K in FromCoordinator['kind']]?: (message: Extract<FromCoordinator, { readonly kind: K }>) => void }

const DEEDS: Deeds = {
  follow: ({ session, epoch }) => post({ kind: 'logJoined', session, epoch, complete: true }),
  followerJoined: ({ session }) => {
    followers.add(session)
    confirmAll()
  },
  sessionEnded: ({ session }) => {
    followers.delete(session)
    post({ kind: 'logLinkEnded', session })
  },
  storeSeen: ({ epoch }) => post({ kind: 'seenStored', epoch }),
  noteQuickClaim: ({ wall }) => post({ kind: 'quickClaimNoted', wall }),
  lead: ({ epoch }) => {
    leads = epoch
    append()
  },
  stepDown: () => (leads = undefined),
  finishTransactions: ({ epoch }) => post({ kind: 'transactionsEnded', epoch }),
  removeAddresses: () => leads !== undefined && post({ kind: 'addressesRemoved', epoch: leads }),
}

function append(): void {
  if (leads === undefined) throw new Error('only a primary appends')
  last++
  post({ kind: 'appended', epoch: leads, last })
  post({ kind: 'synced', epoch: leads, sequence: last })
  confirmAll()
}

function start(settings: Omit<CoordinatorSettings, 'cell'>): void {
  coordinator = openCoordinator({
    settings,
    onMessage: (message) => {
      report({ kind: 'said', at: monotonicMillis(), message })
      DEEDS[message.kind]?.(message as never)
    },
    onBroken: (error) => {
      throw error
    },
  })
  const { cell } = coordinator
  let acted = false
  let until = Number.POSITIVE_INFINITY
  setInterval(() => {
    const at = monotonicMillis()
    const acts = cell.mayAct(at)
    // It may have been allowed to until the end of its right, and no longer, however late this is looked at.
    if (acts !== acted) report({ kind: 'acts', at: Math.min(at, acts ? at : until), acts })
    acted = acts
    if (acts) until = cell.actsUntil()
  }, LOOK_MILLIS)
}

process.on('message', (order: Order) => {
  switch (order.kind) {
    case 'start':
      return start(order.settings)
    case 'post':
      return post(order.message)
    case 'append':
      return append()
    case 'confirms':
      confirms = order.confirms
  }
})
// One without a parent must not stay behind.
process.on('disconnect', () => process.exit(1))
