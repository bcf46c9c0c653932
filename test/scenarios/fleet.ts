import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ensureBinaries, binary } from '#test/cluster/binaries.ts'
import * as cluster from '#test/cluster/cluster.ts'
import { ensureImage, imageRef, type SourceEdit } from '#scripts/image.ts'
import type { Manifest } from '#test/builders/manifests.ts'
import { type Authority, openAuthority } from '#test/support/certificates.ts'
import { runCommand } from '#test/support/command.ts'
import { waitFor } from '#test/support/wait.ts'
import { openInternet } from './internet.ts'
import { findDefaultClass, type ForeignCluster, foreignWorld, localWorld, UnfitCluster, type World } from './world.ts'

/**
 * The installed product on a cluster, as scenarios and the demo find it: chart, operator, a small internet beside it. On the local
 * cluster everything missing is built and started; on another cluster (`context`) the chart must be installed already.
 */

export type ApiRequest = {
  readonly user: string
  readonly verb: string
  readonly resource: string
  /** Empty for what has none. */
  readonly namespace: string
  readonly name: string
  readonly at: number
}

export type LocalFaults = Pick<
  typeof cluster,
  | 'powerOff'
  | 'powerOn'
  | 'cut'
  | 'heal'
  | 'cutFromApi'
  | 'healFromApi'
  | 'cutBetween'
  | 'healBetween'
  | 'stopApiServer'
  | 'startApiServer'
  | 'freezeApiServer'
  | 'thawApiServer'
  | 'nodeExec'
  | 'failVolume'
  | 'fillVolume'
  | 'emptyVolume'
  | 'volumePath'
>

export type Fleet = AsyncDisposable & {
  readonly operatorNamespace: string
  readonly authority: Authority
  /** Undefined on a cluster that is not ours. */
  readonly faults: LocalFaults | undefined
  /** What is around a stage that plays in this namespace. */
  worldOf(namespace: string): World
  kubectl(...args: readonly string[]): Promise<string>
  kubectlApply(manifests: readonly Manifest[], namespace?: string): Promise<void>
  /** Runs lines for bash in which `kubectl` is that of this cluster; answers with what they printed. The first that fails ends it. */
  shell(script: string): Promise<string>
  tokenCommand(token: string, args: readonly string[]): Promise<readonly string[]>
  otherImage(edits?: readonly SourceEdit[]): Promise<string>
  recycleVolumes(): Promise<void>
  apiRequests(from: number, to: number): Promise<ApiRequest[]>
}

export const OPERATOR_NAMESPACE = 'mtafleet-system'

export type FleetOptions = {
  readonly context?: string | undefined
  readonly kubeconfig?: string | undefined
  /** On another cluster: where queues are kept, its default StorageClass when absent. */
  readonly storageClassName?: string | undefined
  /** On another cluster: image of the mail client and the receiving provider. */
  readonly testImage?: string | undefined
  readonly say: (text: string) => void
}

export async function openFleet(options: FleetOptions): Promise<Fleet> {
  const local = options.context === undefined && options.kubeconfig === undefined
  if (local) await startLocal(options.say)
  else await ensureBinaries(['kubectl'], options.say)
  const access = accessTo(options, local)
  const kubectl = (...args: readonly string[]) => runCommand([binary('kubectl'), ...access, ...args], { timeoutMillis: 300_000 })
  if (local) await installChart(access, options.say)
  else await mustBeInstalled(kubectl)
  const kubectlApply: Fleet['kubectlApply'] = async (manifests, namespace) => {
    const list = { apiVersion: 'v1', kind: 'List', items: manifests }
    const place = namespace === undefined ? [] : ['-n', namespace]
    await runCommand([binary('kubectl'), ...access, ...place, 'apply', '--server-side', '--force-conflicts', '-f', '-'], {
      input: JSON.stringify(list),
    })
  }
  await using opening = new AsyncDisposableStack()
  const authority = opening.use(await openAuthority())
  const command = [binary('kubectl'), ...access]
  const worldOf = local ? await openLocalWorlds(authority) : await openForeignWorlds({ command, authority, kubectl, kubectlApply }, options)
  const opened = opening.move()
  return {
    operatorNamespace: OPERATOR_NAMESPACE,
    authority,
    worldOf,
    faults: local ? cluster : undefined,
    kubectl,
    kubectlApply,
    shell: (script) => runCommand(['bash', '-euo', 'pipefail', '-c', `${KUBECTL_IN_SHELL}${script}`, 'bash', ...command]),
    async tokenCommand(token, args) {
      const view = JSON.parse(await kubectl('config', 'view', '--raw', '--flatten', '--minify', '-o', 'json')) as {
        clusters: { cluster: { server: string } }[]
      }
      const server = view.clusters[0]?.cluster.server ?? ''
      return [binary('kubectl'), '--kubeconfig', '/dev/null', '--server', server, '--insecure-skip-tls-verify', '--token', token, ...args]
    },
    async otherImage(edits = []) {
      if (!local) throw new Error('another image is loaded into the nodes of the local cluster only')
      return await loadOtherImage(options.say, edits)
    },
    recycleVolumes: async () => {
      if (local) await cluster.recycle()
    },
    async apiRequests(from, to) {
      if (!local) throw new Error('the audit log is that of the local cluster only')
      return await readAudit(from, to)
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** Its arguments are the command. */
const KUBECTL_IN_SHELL = 'client=("$@")\nkubectl() { "${client[@]}" "$@"; }\n'

function accessTo({ context, kubeconfig }: FleetOptions, local: boolean): readonly string[] {
  const known = local ? cluster.kubeconfigPath() : (process.env['KUBECONFIG'] ?? join(process.env['HOME'] ?? '/', '.kube/config'))
  return ['--kubeconfig', kubeconfig ?? known, ...(context === undefined ? [] : ['--context', context])]
}

/** Nothing is installed on a cluster that is not ours. */
async function mustBeInstalled(kubectl: Fleet['kubectl']): Promise<void> {
  try {
    await kubectl('get', 'crd', 'sendingstreams.mtafleet.io', 'ippools.mtafleet.io', 'mtainstances.mtafleet.io')
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new UnfitCluster(`the chart must be installed on this cluster (helm install mtafleet charts/mtafleet): ${why}`)
  }
}

async function openLocalWorlds(authority: Authority): Promise<Fleet['worldOf']> {
  const world = localWorld(await openInternet(), authority)
  return () => world
}

async function openForeignWorlds(
  access: Pick<ForeignCluster, 'command' | 'authority' | 'kubectl' | 'kubectlApply'>,
  { storageClassName, testImage }: FleetOptions,
): Promise<Fleet['worldOf']> {
  const known = storageClassName ?? findDefaultClass(await access.kubectl('get', 'storageclasses', '-o', 'json'))
  const foreign = { ...access, storageClassName: known, testImage: testImage ?? (await imageRef({ content: 'test' })) }
  return (namespace) => foreignWorld(foreign, namespace)
}

async function startLocal(say: (text: string) => void): Promise<void> {
  await ensureBinaries(undefined, say)
  await cluster.clusterUp({ onProgress: say })
  const image = await ensureImage({ say })
  await cluster.loadImage(image.tar)
}

/** Installs or upgrades the chart with the image of this tree, and waits for both replicas. */
async function installChart(access: readonly string[], say: (text: string) => void): Promise<void> {
  const image = await ensureImage({ say })
  const [repository, tag] = [image.ref.slice(0, image.ref.lastIndexOf(':')), image.ref.slice(image.ref.lastIndexOf(':') + 1)]
  const connection = access.flatMap((arg) => (arg === '--context' ? ['--kube-context'] : [arg]))
  say('installing the chart …')
  await runCommand(
    [
      ...[
        binary('helm'),
        ...connection,
        'upgrade',
        '--install',
        'mtafleet',
        'charts/mtafleet',
        '--namespace',
        OPERATOR_NAMESPACE,
        '--create-namespace',
      ],
      ...[
        '--set',
        `image.repository=${repository}`,
        '--set-string',
        `image.tag=${tag}`,
        '--set',
        'image.pullPolicy=IfNotPresent',
        '--wait',
        '--timeout',
        '180s',
      ],
    ],
    { timeoutMillis: 240_000 },
  )
}

async function loadOtherImage(say: (text: string) => void, edits: readonly SourceEdit[]): Promise<string> {
  const image = await ensureImage({ tag: edits.length === 0 ? 'next' : 'wrong', edits, say })
  await cluster.loadImage(image.tar)
  return image.ref
}

/** The audit log of the local API server; one JSON event a line, written when the request is complete. */
async function readAudit(from: number, to: number): Promise<ApiRequest[]> {
  type Event = {
    stage: string
    verb: string
    user?: { username?: string }
    objectRef?: { resource?: string; subresource?: string; namespace?: string; name?: string }
    requestReceivedTimestamp: string
  }
  const wanted = (at: number): boolean => at >= from && at <= to
  const lines = await waitFor('the audit log', async () => (await readFile(cluster.auditLogPath(), 'utf8')).split('\n'))
  return lines
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Event)
    .filter((event) => event.stage === 'ResponseComplete' || event.stage === 'ResponseStarted')
    .map((event) => ({
      user: event.user?.username ?? '',
      verb: event.verb,
      resource: [event.objectRef?.resource, event.objectRef?.subresource].filter(Boolean).join('/'),
      namespace: event.objectRef?.namespace ?? '',
      name: event.objectRef?.name ?? '',
      at: Date.parse(event.requestReceivedTimestamp),
    }))
    .filter((request) => wanted(request.at))
}
