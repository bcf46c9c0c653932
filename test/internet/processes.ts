import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { listProcesses, readEnvironment } from '#test/support/proc.ts'
import { internetFolder, logFolder, PROCESS_MARK } from './state.ts'

/**
 * The processes of the small internet. Each carries a mark in its environment and is found again by it: no stale file of process ids, and never
 * a program of the same name that somebody else started.
 */
export function startProcess(name: string, argv: readonly string[], life: 'child' | 'detached'): ChildProcess {
  mkdirSync(logFolder(), { recursive: true })
  const log = openSync(join(logFolder(), `${name}.log`), 'a')
  const [command = '', ...rest] = argv
  const env = { ...process.env, [PROCESS_MARK]: internetFolder() }
  try {
    const child = spawn(command, rest, { detached: true, stdio: ['ignore', log, log], env, cwd: '/' })
    if (life === 'detached') child.unref()
    return child
  } finally {
    closeSync(log)
  }
}

/** Ids of all our processes; zombies do not count, their environment is empty. */
export function findProcesses(): number[] {
  const wanted = `${PROCESS_MARK}=${internetFolder()}`
  return listProcesses().filter((pid) => pid !== process.pid && readEnvironment(pid).includes(wanted))
}

/** Ends all our processes: asks first, insists after `patienceMillis`. Throws when one is still there in the end. */
export async function endProcesses(patienceMillis: number): Promise<void> {
  for (const pid of findProcesses()) sendSignal(pid, 'SIGTERM')
  if (await gone(patienceMillis)) return
  for (const pid of findProcesses()) sendSignal(pid, 'SIGKILL')
  if (!(await gone(10_000))) throw new Error(`processes ${findProcesses().join(', ')} did not end`)
}

async function gone(millis: number): Promise<boolean> {
  const deadline = performance.now() + millis
  while (findProcesses().length > 0) {
    if (performance.now() > deadline) return false
    await sleep(50)
  }
  return true
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
