import { randomBytes } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { monotonicMillis } from '../monotonic-clock.ts'
import { type CoordinatorSettings, type FromCoordinator, type ToCoordinator } from './messages.ts'
import { openShell } from './shell.ts'

/** The thread of the coordinator: what open-coordinator.ts starts. Whatever goes wrong here ends it, and the main thread hears of it. */

const port = parentPort
if (port === null) throw new Error('the coordinator must be started as a thread')
const tell = (message: FromCoordinator): void => port.postMessage(message)
const onBroken = (error: unknown): void =>
  process.nextTick(() => {
    throw error
  })

const shell = await openShell({
  settings: workerData as CoordinatorSettings,
  tell,
  onBroken,
  clock: monotonicMillis,
  wall: Date.now,
  token: () => randomBytes(16).toString('hex'),
})
port.on('message', (message: ToCoordinator) => {
  if (message.kind === 'stop') {
    shell.stop().then(() => port.close(), onBroken)
    return
  }
  shell.take(message)
})
