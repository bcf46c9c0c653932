import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * A directory that is read again whenever its files change: a mounted Secret (the kubelet swaps the symlink `..data`) or a plain folder.
 * It looks at names, inodes, times and sizes every few seconds. fs.watch would be quicker and is lost on exactly that swap.
 */
export type WatchedDirectory<T> = Disposable & {
  readonly value: T
  /** Looks now; resolves when a change has been read. */
  check(): Promise<void>
}

export type WatchOptions<T> = {
  readonly directory: string
  /** Files of the directory, sorted; not those whose name begins with a dot. Must not throw: what is wrong is part of the value. */
  readonly read: (directory: string, names: readonly string[]) => Promise<T>
  readonly onChange: (value: T) => void
  readonly everyMillis: number
}

export async function openWatchedDirectory<T>(options: WatchOptions<T>): Promise<WatchedDirectory<T>> {
  // The mark is taken before reading: a swap in between makes the next mark another one.
  let mark = await readMark(options.directory)
  let value = await options.read(options.directory, mark.names)
  let running: Promise<void> | undefined
  const look = async () => {
    const next = await readMark(options.directory)
    if (next.text === mark.text) return
    value = await options.read(options.directory, next.names)
    mark = next
    options.onChange(value)
  }
  const check = () => (running ??= look().finally(() => (running = undefined)))
  const timer = setInterval(() => void check(), options.everyMillis)
  timer.unref()
  return {
    get value() {
      return value
    },
    check,
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

async function readMark(directory: string): Promise<{ readonly text: string; readonly names: readonly string[] }> {
  let entries: string[]
  try {
    entries = await readdir(directory)
  } catch (error) {
    return { text: `unreadable: ${String(error)}`, names: [] }
  }
  const names = entries.filter((name) => !name.startsWith('.')).toSorted()
  const marks = await Promise.all(
    names.map(async (name) => {
      try {
        const { ino, mtimeMs, size } = await stat(join(directory, name))
        return `${name} ${ino} ${mtimeMs} ${size}`
      } catch (error) {
        return `${name} ${String(error)}`
      }
    }),
  )
  return { text: marks.join('\n'), names }
}
