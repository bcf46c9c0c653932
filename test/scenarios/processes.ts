import { readdir, readFile } from 'node:fs/promises'

/** Processes of Pods, as the host of a local cluster sees them: a fault is made to the real process, not to a stand-in. */

/** Host process ids of the Pod's containers whose command line contains `words`; never the sandbox's pause process. */
export async function podProcesses(podUid: string, words: string): Promise<number[]> {
  const needle = [podUid, podUid.replaceAll('-', '_')]
  const found: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const [groups, commandLine] = await Promise.all([readQuietly(`/proc/${entry}/cgroup`), readQuietly(`/proc/${entry}/cmdline`)])
    if (needle.some((uid) => groups.includes(uid)) && commandLine.replaceAll('\0', ' ').includes(words)) found.push(Number(entry))
  }
  return found
}

/** Resident memory of a process in MiB. */
export async function residentMiB(pid: number): Promise<number> {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kilobytes ?? 0) / 1024)
}

/** A process may end between being listed and being read; then it is simply not there. */
async function readQuietly(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}
