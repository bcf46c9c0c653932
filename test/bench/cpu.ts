import { readProc } from '#test/support/proc.ts'

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICK_MILLIS = 10

/** Processor time of all threads of a process since it began, by /proc/PID/stat (proc(5)): utime and stime. */
export function cpuMillisOf(pid: number): number {
  const stat = readProc(pid, 'stat')
  if (stat === '') throw new Error(`process ${pid} must run, does not`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MILLIS
}
