/**
 * The cluster's processes on this machine. Each is started in a session of its own with a mark in its environment, and found again by that mark in /proc:
 * no file of process ids that can be stale, and never a program of the same name that somebody else started.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { runCommand } from '#test/support/command.ts'
import { listProcesses, readEnvironment, readProc } from '#test/support/proc.ts'
import { watchFor } from '#test/support/wait.ts'
import { clusterFolder, logFile } from './state.ts'

const MARK = 'MTAFLEET_CLUSTER_PROCESS'

/** Starts `argv` so that it outlives us, in the network namespace `namespace` or, without one, where we are. Its output goes to a log file. */
export function startProcess(name: string, argv: readonly string[], namespace?: string): void {
  const file = logFile(name)
  mkdirSync(dirname(file), { recursive: true })
  const log = openSync(file, 'a')
  const [command = '', ...rest] = namespace === undefined ? argv : [...inNamespace(namespace), ...argv]
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] ?? '/', LANG: 'C.UTF-8', [MARK]: markOf(name) }
  try {
    const child = spawn(command, rest, { detached: true, stdio: ['ignore', log, log], env, cwd: '/' })
    child.on('error', (error) => process.stderr.write(`${name} could not be started: ${error.message}\n`))
    child.unref()
  } finally {
    closeSync(log)
  }
}

/** The command line that enters a network namespace. Not `ip netns exec`: that mounts another /sys, which hides the cgroups from a kubelet. */
export function inNamespace(namespace: string): string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, '--']
}

/** Ids of all processes with this name's mark, descendants included; without a name, of the whole cluster. */
export function findProcesses(name?: string): number[] {
  const wanted = name === undefined ? `${MARK}=${clusterFolder()}#` : `${MARK}=${markOf(name)}`
  return listProcesses().filter((pid) =>
    readEnvironment(pid).some((entry) => (name === undefined ? entry.startsWith(wanted) : entry === wanted)),
  )
}

/** Every process in these network namespaces, with or without our mark. */
export async function processesIn(namespaces: readonly string[]): Promise<number[]> {
  const lists = await Promise.all(namespaces.map((namespace) => runCommand(['ip', 'netns', 'pids', namespace])))
  return lists.flatMap((list) => list.split('\n').filter(Boolean).map(Number))
}

export function isRunning(name: string): boolean {
  return findProcesses(name).length > 0
}

/** The process that is number 1 in a process namespace below ours, among those with this name: killing it kills all in there at once. */
export function findInit(name: string): number | undefined {
  return findProcesses(name).find((pid) => {
    const numbers =
      readProc(pid, 'status')
        .match(/^NSpid:\s+(.*)$/m)?.[1]
        ?.split(/\s+/) ?? []
    return numbers.length === 2 && numbers[1] === '1'
  })
}

/** Sends SIGKILL until `list` finds nothing more (a process may have had a child in between). */
export async function killProcesses(what: string, list: () => Promise<number[]> | number[]): Promise<void> {
  await watchFor(
    `${what} to end`,
    async () => {
      const pids = (await list()).filter((pid) => pid !== process.pid)
      for (const pid of pids) sendSignal(pid, 'SIGKILL')
      return pids.length === 0 ? true : undefined
    },
    { withinMillis: 30_000, everyMillis: 50 },
    async () => `still there: ${(await list()).map((pid) => `${pid} (${readProc(pid, 'comm').trim()})`).join(', ')}`,
  )
}

/** A process that has just ended needs no signal. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function markOf(name: string): string {
  return `${clusterFolder()}#${name}`
}
