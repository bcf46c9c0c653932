import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Stage } from './stage.ts'

/**
 * A page of docs/ that an administrator works by, played as it stands: its shell blocks, with the names of the stage in place of the page's. So a
 * page whose commands no longer do what it says fails a scenario.
 */

export type Names = {
  /** In place of `-n mail`. */
  readonly namespace: string
  /** Words of the page, and what they are here. */
  readonly words: Readonly<Record<string, string>>
}

/** The shell blocks of a section, in the order in which they stand there. Throws when there is no such section, or none in it. */
export function shellBlocks(page: string, heading: string): readonly string[] {
  const section = page.split(/^##? /m).find((part) => part.startsWith(`${heading}\n`))
  if (section === undefined) throw new Error(`the page must have a section "${heading}", has none`)
  const blocks = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block)
  if (blocks.length === 0) throw new Error(`section "${heading}" must have a shell block, has none`)
  return blocks
}

/** As whoever works by it would type it. */
export function withNames(block: string, { namespace, words }: Names): string {
  const all = new RegExp(String.raw`(?<![\w-])(?:${Object.keys(words).toSorted().join('|')})(?![\w-])`, 'g')
  return block.replaceAll('-n mail', `-n ${namespace}`).replace(all, (word) => words[word] ?? word)
}

/** Sets the variables that the block begins with. Throws when it has no such variable. */
export function fillIn(block: string, values: Readonly<Record<string, string>>): string {
  return Object.entries(values).reduce((filled, [name, value]) => {
    const variable = new RegExp(String.raw`(?<=^|[ \n])${name}=\S+`)
    if (!variable.test(filled)) throw new Error(`the block must set ${name}, does not`)
    return filled.replace(variable, `${name}=${value}`)
  }, block)
}

export type Play = {
  /** Which of the section's blocks: the first when absent. */
  readonly block?: number
  readonly fillIn?: Readonly<Record<string, string>>
}

/** Runs one block and answers with what it printed. */
export type Page = (heading: string, play?: Play) => Promise<string>

/** `docs/standbys-stuck.md`, for a shard of the stream `bulk` whose primary and standby the page calls `bulk-0-a` and `bulk-0-b`. */
export async function openStuckPage(stage: Stage): Promise<(primary: string, standby: string) => Page> {
  const text = await readFile(join(import.meta.dirname, '../../docs/standbys-stuck.md'), 'utf8')
  return (primary, standby) =>
    async (heading, { block: index = 0, fillIn: values = {} } = {}) => {
      const block = shellBlocks(text, heading)[index]
      if (block === undefined) throw new Error(`section "${heading}" must have a shell block ${index + 1}, has none`)
      const words = Object.fromEntries(
        ['', '-queue', '-replication'].flatMap((what) => [
          [`bulk-0-a${what}`, `${primary}${what}`],
          [`bulk-0-b${what}`, `${standby}${what}`],
        ]),
      )
      return await stage.shell(fillIn(withNames(block, { namespace: stage.namespace, words }), values))
    }
}
