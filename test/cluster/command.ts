/** What may follow `npm run cluster --`. Pure: words in, a command or an error that says what must be there. */
import { parseArgs } from 'node:util'
import { type ClusterSize, DEFAULT_SIZE, parseSize } from './plan.ts'

const ALONE = ['down', 'status', 'env', 'recycle'] as const
const WITH_NODE = ['power-off', 'power-on', 'cut', 'heal', 'cut-from-api', 'heal-from-api'] as const
const WITH_TWO_NODES = ['cut-between', 'heal-between'] as const

export type NodeCommand = { readonly kind: (typeof WITH_NODE)[number]; readonly node: string }
export type LinkCommand = { readonly kind: (typeof WITH_TWO_NODES)[number]; readonly nodes: readonly [string, string] }

export type Command =
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'up'; readonly size: Partial<ClusterSize> }
  | { readonly kind: (typeof ALONE)[number] }
  | NodeCommand
  | LinkCommand
  | { readonly kind: 'load'; readonly tar: string }

export const USAGE = `npm run cluster -- COMMAND
  up [--nodes ${DEFAULT_SIZE.nodes}] [--volumes ${DEFAULT_SIZE.volumesPerNode}] [--volume-mebibytes ${DEFAULT_SIZE.volumeMebibytes}]
                       bring the cluster up, or complete it; ends when every node is Ready
  down                 remove it with all its data
  status               what runs
  env                  shell lines for kubectl: eval "$(npm -s run cluster -- env)"
  load IMAGE.tar       give an image to every node
  recycle              wipe Released volumes and make them Available
  power-off NODE       power cut; the disks stay        power-on NODE        boot, wait for Ready
  cut NODE             pull the network cable           heal NODE            put it back
  cut-from-api NODE    lose only the API server         heal-from-api NODE   find it again
  cut-between NODE NODE   lose only each other       heal-between NODE NODE   find each other again
NODE is node1, node2 … or the number alone.`

export function parseCommand(argv: readonly string[]): Command {
  const [kind, ...rest] = argv
  if (kind === undefined || kind === 'help' || kind === '--help') return { kind: 'help', text: USAGE }
  if (kind === 'up') return { kind, size: parseUp(rest) }
  if (isOneOf(ALONE, kind)) {
    if (rest.length > 0) throw new Error(`${kind} takes nothing more, was given ${JSON.stringify(rest.join(' '))}`)
    return { kind }
  }
  if (isOneOf(WITH_NODE, kind)) return { kind, node: onlyWord(kind, 'a node', rest) }
  if (isOneOf(WITH_TWO_NODES, kind)) return { kind, nodes: twoWords(kind, rest) }
  if (kind === 'load') return { kind, tar: onlyWord(kind, 'the path of an image archive', rest) }
  throw new Error(`unknown command ${JSON.stringify(kind)}\n${USAGE}`)
}

function parseUp(words: readonly string[]): Partial<ClusterSize> {
  const string = { type: 'string' } as const
  const { values } = parseArgs({ args: [...words], options: { nodes: string, volumes: string, 'volume-mebibytes': string } })
  const given = { nodes: values.nodes, volumesPerNode: values.volumes, volumeMebibytes: values['volume-mebibytes'] }
  const named = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<
    Record<keyof ClusterSize, string>
  >
  const size = parseSize(named)
  return Object.fromEntries(Object.keys(named).map((field) => [field, size[field as keyof ClusterSize]]))
}

function onlyWord(kind: string, what: string, words: readonly string[]): string {
  const [word] = words
  if (word === undefined || words.length > 1) throw new Error(`${kind} takes ${what}, was given ${JSON.stringify(words.join(' '))}`)
  return word
}

function twoWords(kind: string, words: readonly string[]): readonly [string, string] {
  const [node, other] = words
  if (node === undefined || other === undefined || words.length > 2)
    throw new Error(`${kind} takes two nodes, was given ${JSON.stringify(words.join(' '))}`)
  return [node, other]
}

function isOneOf<T extends string>(list: readonly T[], word: string): word is T {
  return (list as readonly string[]).includes(word)
}
