import { Worker } from 'node:worker_threads'
import { monotonicMillis } from '../monotonic-clock.ts'
import { timersOf } from '../timers.ts'
import type { CoordinatorSettings, FromCoordinator, ToCoordinator } from './messages.ts'
import { type CellOfMain, cellOfMain, createCell } from './shared-cell.ts'

/** The main thread's end of the coordinator: starts its thread, says that the main loop is alive, carries messages. */
export type CoordinatorThread = AsyncDisposable & {
  readonly cell: CellOfMain
  post(message: ToCoordinator): void
}

export type CoordinatorOptions = {
  readonly settings: Omit<CoordinatorSettings, 'cell'>
  readonly onMessage: (message: FromCoordinator) => void
  /** The thread has ended by a defect: without it this process may neither act nor promise. */
  readonly onBroken: (error: unknown) => void
}

/** Within the timer `stall`. */
const MOVES_PER_STALL = 15

export function openCoordinator({ settings, onMessage, onBroken }: CoordinatorOptions): CoordinatorThread {
  const buffer = createCell(monotonicMillis())
  const cell = cellOfMain(buffer)
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { name: 'coordinator', workerData: { ...settings, cell: buffer } })
  const exited = Promise.withResolvers<void>()
  let isStopping = false
  worker.on('message', onMessage)
  worker.on('error', onBroken)
  worker.on('exit', (code) => {
    exited.resolve()
    // After an error it is heard twice; whoever is broken already does not mind.
    if (!isStopping) onBroken(new Error(`the coordinator's thread must run as long as the agent, ended with ${code}`))
  })
  const timer = setInterval(() => cell.moved(monotonicMillis()), timersOf(settings.timing).stall / MOVES_PER_STALL)
  timer.unref()
  return {
    cell,
    post: (message) => worker.postMessage(message),
    [Symbol.asyncDispose]: async () => {
      isStopping = true
      clearInterval(timer)
      worker.postMessage({ kind: 'stop' } satisfies ToCoordinator)
      await exited.promise
    },
  }
}
