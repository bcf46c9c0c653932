import { readdirSync, readFileSync } from 'node:fs'

/** Processes as /proc tells them (proc(5)), for those who find their own again by a mark in the environment. */

export function listProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/**
 * While a process replaces its program (nsenter becomes kube-apiserver) its environment reads as empty for an instant, and so does its command
 * line. Taken for the truth, a process that has just been started would count as ended, and one that must be killed would be left behind.
 * A process that has ended has none; a zombie counts as ended, for it holds nothing, and only its parent can remove it.
 */
export function readEnvironment(pid: number): readonly string[] {
  let looksWithCommand = 0
  for (let look = 0; look < EXEC_LOOKS; look++) {
    const environment = readProc(pid, 'environ')
    if (environment !== '' || !hasProgram(readProc(pid, 'stat'))) return environment.split('\0')
    // With a command line it may be one without any environment, or the change was over between the two looks.
    if (readProc(pid, 'cmdline') === '') Atomics.wait(NOTHING, 0, 0, EXEC_LOOK_MILLIS)
    else if (++looksWithCommand === LOOKS_TO_BELIEVE) return []
  }
  throw new Error(`process ${pid} must have an environment or a command line after ${EXEC_LOOKS} looks, had neither`)
}

const EXEC_LOOKS = 1000
const EXEC_LOOK_MILLIS = 2
const LOOKS_TO_BELIEVE = 10
const NOTHING = new Int32Array(new SharedArrayBuffer(4))

/** Neither gone or going, nor a zombie, nor a thread of the kernel; by /proc/PID/stat (proc(5)), where the name in brackets may hold anything. */
export function hasProgram(stat: string): boolean {
  const [state, , , , , , flags] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return stat !== '' && state !== 'Z' && state !== 'X' && (Number(flags) & (EXITING | KERNEL_THREAD)) === 0
}

/** PF_EXITING and PF_KTHREAD of the kernel's sched.h. */
const EXITING = 0x4
const KERNEL_THREAD = 0x00200000

/** Empty when the process has ended meanwhile, or belongs to somebody else. */
export function readProc(pid: number, file: 'environ' | 'cmdline' | 'stat' | 'status' | 'comm'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}
