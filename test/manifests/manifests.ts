import { readFileSync, globSync } from 'node:fs'
import { runCommand } from '#test/support/command.ts'
import { watchFor } from '#test/support/wait.ts'
import { binary } from '#test/cluster/binaries.ts'

/**
 * Manifests as files, right ones and wrong ones. The first lines of a file say how it is played: `# expect: …` what the refusal must contain
 * (several lines: all of them), `# as: …` who applies it, `# do: delete` that its last document is deleted instead. All documents but the
 * last only prepare the ground, `# before: …` says who does that.
 */
export type ManifestCase = {
  readonly name: string
  readonly expect: readonly string[]
  readonly as: string | undefined
  readonly before: string | undefined
  readonly isDeletion: boolean
  readonly documents: readonly string[]
}

export const readCases = (folder: 'right' | 'wrong'): ManifestCase[] =>
  globSync(`test/manifests/${folder}/*.yaml`)
    .toSorted()
    .map((path) => parseCase(path.slice(path.lastIndexOf('/') + 1, -'.yaml'.length), readFileSync(path, 'utf8')))

function parseCase(name: string, text: string): ManifestCase {
  const said = (key: string): string[] => [...text.matchAll(new RegExp(`^# ${key}: (.*)$`, 'gm'))].map((match) => match[1]!)
  return {
    name,
    expect: said('expect'),
    as: said('as')[0],
    before: said('before')[0],
    isDeletion: said('do')[0] === 'delete',
    documents: text.split(/^---$/m),
  }
}

export type Kubectl = (argv: readonly string[], input?: string) => Promise<string>

/** kubectl as people run it; rejects with what it printed. */
export const kubectl =
  (kubeconfig: string): Kubectl =>
  (argv, input) =>
    runCommand([binary('kubectl'), '--kubeconfig', kubeconfig, ...argv], input === undefined ? {} : { input })

/** The CRDs and the admission policies, in force when this resolves. */
export async function installApi(call: Kubectl): Promise<void> {
  await call(['apply', '--filename', 'crds/'])
  await call(['wait', '--for=condition=Established', '--timeout=30s', '--filename', 'crds/'])
  await call(['apply', '--filename', 'charts/mtafleet/files/admission.yaml'])
  // The API server takes the policies up together, after a while: then the last one refuses, and those with parameters have found them.
  const attempt = (path: string): Promise<string | undefined> => refusal(call, ['apply', '--dry-run=server', '--filename', path])
  await watchFor(
    'the admission policies to be in force',
    async () => {
      const made = await attempt('test/manifests/wrong/instance-made-by-a-person.yaml')
      const refused = [
        await attempt('test/manifests/right/pool-dual-stack.yaml'),
        await attempt('test/manifests/right/stream-smallest.yaml'),
      ]
      return made?.includes('must be written by the operator alone') && refused.every((text) => text === undefined) ? true : undefined
    },
    { withinMillis: 60_000, everyMillis: 250 },
  )
}

/** What kubectl said when it was refused; undefined when it was not. */
export async function refusal(call: Kubectl, argv: readonly string[], input?: string): Promise<string | undefined> {
  try {
    await call(argv, input)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
