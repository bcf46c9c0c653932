import { parseAllDocuments } from 'yaml'
import { binary } from '#test/cluster/binaries.ts'
import { runCommand } from '#test/support/command.ts'

/** The chart as helm renders it. `sets` are `--set` arguments. */

export const CHART = 'charts/mtafleet'

export type Rendered = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly [field: string]: unknown
}

export const helm = (argv: readonly string[]): Promise<string> => runCommand([binary('helm'), ...argv])

export async function renderText(sets: readonly string[] = [], namespace = 'mtafleet-system'): Promise<string> {
  const flags = sets.flatMap((set) => ['--set-json', set])
  return await helm(['template', 'mtafleet', CHART, '--namespace', namespace, '--kube-version', '1.34.4', ...flags])
}

export async function render(sets: readonly string[] = [], namespace = 'mtafleet-system'): Promise<Rendered[]> {
  return parseAllDocuments(await renderText(sets, namespace)).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`the chart renders no YAML: ${document.errors.map(String).join('; ')}`)
    const value = document.toJS() as Rendered | null
    return value === null ? [] : [value]
  })
}

export const find = (objects: readonly Rendered[], kind: string, name: string): Rendered => {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name)
  if (found === undefined) throw new Error(`the chart must render ${kind} ${name}, rendered ${objects.map((one) => one.kind).join(', ')}`)
  return found
}
