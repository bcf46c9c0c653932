import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Condition } from '#crds/meta.ts'
import type { MTAInstance } from '#crds/mta-instance.ts'
import { localStorageClass, localVolume, nodeAddress, pool, secret, stream } from '#test/builders/manifests.ts'
import { must, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/**
 * The failure table of operator/README.md on a real cluster: what an administrator or the world does wrong, and what kubectl says of it. Each
 * lane has one source address and one stream; every step of it is the repair of the one before, and the last repair ends in Ready=True.
 */

type Words = {
  /** As kubectl takes it: kind/name. */
  readonly on: string
  readonly condition: string
  readonly reason: string
  readonly message: RegExp
  /** Reason of the Event that `kubectl describe` shows below; that of the condition unless said otherwise. */
  readonly event?: string
}

type Step =
  | { readonly wrong: string; readonly make: () => Promise<unknown>; readonly says: Words }
  | { readonly wrong: string; readonly make: () => Promise<unknown>; readonly refused: RegExp }
  | { readonly right: string; readonly make: () => Promise<unknown> }

const WITHIN_MILLIS = 180_000
/** The node of every lane; the scenario takes it from nobody. */
const NODE = 4

export const scenario: Scenario = {
  name: 'failures-explained',
  promise: 'whatever is wrong, kubectl get and describe say what and where, and Ready=True follows the repair',
  needs: 'local',
  async run(stage) {
    const { nodeExec } = stage.localFaults()
    await using cleanUp = new AsyncDisposableStack()
    await nodeExec(NODE, ['rm', '-rf', LATE_FOLDER])
    await nodeExec(NODE, ['mkdir', '-p', LATE_FOLDER])
    await forgetClass(stage)
    cleanUp.defer(() => forgetClass(stage))
    const common = await stage.issueCertificate('submission')
    await stage.apply(secret('submission-tls', { 'tls.crt': common.certificate, 'tls.key': common.key }, 'kubernetes.io/tls'))
    const lanes = [imageLane(stage), poolLane(stage), await credentialsLane(stage, cleanUp), await volumeLane(stage)]
    const walked = await Promise.allSettled(lanes.map((lane) => walk(stage, lane)))
    const said = walked.flatMap((lane) => {
      if (lane.status === 'rejected') throw lane.reason
      return lane.value
    })
    return { explained: said.length, slowestMillis: Math.max(...said) }
  },
}

/** How long each explanation took, in milliseconds. */
async function walk(stage: Stage, steps: readonly Step[]): Promise<number[]> {
  const took: number[] = []
  for (const step of steps) {
    const started = performance.now()
    if ('refused' in step) await mustBeRefused(step.wrong, step.make, step.refused)
    else {
      await step.make()
      if ('right' in step) continue
      await mustSay(stage, step.wrong, step.says)
    }
    took.push(Math.round(performance.now() - started))
  }
  return took
}

async function mustBeRefused(wrong: string, make: () => Promise<unknown>, words: RegExp): Promise<void> {
  const answer = await make().then(
    () => 'nothing: it was taken',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
  must(words.test(answer), `${wrong} must be refused with ${words}, was ${answer}`)
}

/** The condition has the words, `kubectl get` shows the reason, and `kubectl describe` shows an Event with it. */
async function mustSay(stage: Stage, wrong: string, words: Words): Promise<void> {
  const [kind = '', name = ''] = words.on.split('/')
  const condition = await stage.waitFor(`${wrong} to be explained by ${words.on}`, WITHIN_MILLIS, async () => {
    const found = await stage.condition(kind, name, words.condition)
    if (found?.reason === words.reason && found.status !== 'True' && words.message.test(found.message)) return found
    throw new Error(`${words.condition} must be ${words.reason} with ${words.message}, was ${formatCondition(found)}`)
  })
  await stage.waitFor(`kubectl get ${words.on} to show ${condition.reason}`, WITHIN_MILLIS, async () => {
    const row = await stage.kubectl('get', kind, name)
    if (row.includes(condition.reason)) return true
    throw new Error(`was\n${row}`)
  })
  const event = new RegExp(`^ +(Warning|Normal) +${words.event ?? words.reason} `, 'm')
  await stage.waitFor(`kubectl describe ${words.on} to show an Event ${words.event ?? words.reason}`, WITHIN_MILLIS, async () => {
    const described = await stage.kubectl('describe', kind, name)
    if (event.test(described)) return true
    throw new Error(`was ${described.slice(Math.max(0, described.indexOf('Events:')))}`)
  })
}

const formatCondition = (found: Condition | undefined): string =>
  found === undefined ? 'absent' : `${found.status} ${found.reason}: ${found.message}`

// What the lanes are made of

const edit = (stage: Stage, kind: string, name: string, spec: unknown) =>
  stage.kubectl('patch', kind, name, '--type=merge', '-p', JSON.stringify({ spec }))

/** The kubelet brings a changed Secret when it looks at the Pod again, after up to 90 s or when the Pod changes. */
const lookAgain = (stage: Stage, podName: string) =>
  stage.kubectl('annotate', 'pod', podName, '--overwrite', `mtafleet.test/changed-at=${Date.now()}`)

const allReady = async (stage: Stage, name: string): Promise<void> => {
  for (const [kind, object] of [
    ['mtainstance', `${name}-0-a`],
    ['sendingstream', name],
    ['ippool', name],
  ] as const) {
    await stage.ready(kind, object, WITHIN_MILLIS)
  }
}

/** The agent's image, then its place, then its process. */
function imageLane(stage: Stage): readonly Step[] {
  const [name, instance] = ['picture', 'mtainstance/picture-0-a']
  const crash = async (times: number): Promise<void> => {
    for (let time = 0; time < times; time += 1) {
      await stage.agentBack('picture-0-a', WITHIN_MILLIS)
      await stage.killAgent('picture-0-a', 'SIGKILL')
    }
  }
  return [
    {
      wrong: 'an image that does not exist',
      make: () =>
        stage.apply(
          pool(name, { addresses: [nodeAddress(NODE, 1)] }),
          stream(name, { agent: { image: 'localhost:5/mtafleet:no-such-tag' } }),
        ),
      says: { on: instance, condition: 'PodRunning', reason: 'ImageNotFound', message: /localhost:5\/mtafleet:no-such-tag/ },
    },
    { right: 'the image of the operator', make: () => edit(stage, 'sendingstream', name, { agent: { image: null } }) },
    { right: 'Ready', make: () => allReady(stage, name) },
    {
      wrong: 'a nodeSelector that no node has',
      make: () => edit(stage, 'sendingstream', name, { placement: { nodeSelector: { disk: 'golden' } } }),
      says: {
        on: instance,
        condition: 'PodScheduled',
        reason: 'Unschedulable',
        message: /^node 'node4' lacks the label disk=golden; the scheduler says: .*nodes are available/,
      },
    },
    { right: 'no nodeSelector', make: () => edit(stage, 'sendingstream', name, { placement: null }) },
    { right: 'Ready', make: () => allReady(stage, name) },
    {
      wrong: 'an agent that ends again and again',
      make: () => crash(2),
      says: { on: instance, condition: 'PodRunning', reason: 'AgentCrashed', message: /^the agent ended with signal 9/ },
    },
    { right: 'Ready', make: () => allReady(stage, name) },
  ]
}

/** Pools and addresses. */
function poolLane(stage: Stage): readonly Step[] {
  const [name, instance] = ['pooled', 'mtainstance/pooled-0-a']
  const own = nodeAddress(NODE, 2)
  const elsewhere = { ...own, address: `192.0.2.9${NODE}` }
  return [
    {
      wrong: 'a pool that does not exist',
      make: () => stage.apply(stream(name)),
      says: { on: `sendingstream/${name}`, condition: 'PoolAccepted', reason: 'PoolNotFound', message: /^IPPool 'pooled' must exist/ },
    },
    {
      wrong: 'a pool that does not allow the class',
      make: () => stage.apply(pool(name, { addresses: [own], allowedClasses: ['Marketing'] })),
      refused: /spec\.allowedClasses must contain Transactional while SendingStream "pooled" sends from this pool, was Marketing/,
    },
    {
      wrong: 'an address whose node does not exist',
      make: () => stage.apply(pool(name, { addresses: [{ ...own, nodeName: 'node9' }] })),
      says: { on: `ippool/${name}`, condition: 'Ready', reason: 'NodeNotFound', message: /there is no node 'node9' of / },
    },
    {
      wrong: 'a stream whose pool is on no node that exists',
      make: async () => {},
      says: { on: instance, condition: 'AddressesAssigned', reason: 'NoNodeFits', message: /'node9' does not exist/ },
    },
    {
      wrong: 'an address that the node does not have',
      make: () => edit(stage, 'ippool', name, { addresses: [elsewhere] }),
      says: {
        on: instance,
        condition: 'AddressesPresent',
        reason: 'AddressesMissing',
        message: new RegExp(`must be on an interface of this node, are not: ${elsewhere.address}`),
        event: 'AddressesMissing',
      },
    },
    { right: 'an address that it has', make: () => edit(stage, 'ippool', name, { addresses: [own] }) },
    { right: 'Ready', make: () => allReady(stage, name) },
    {
      wrong: 'a second stream of a pool',
      make: () => stage.apply(stream('newcomer', { pool: name })),
      says: {
        on: 'sendingstream/newcomer',
        condition: 'PoolAccepted',
        reason: 'PoolInUse',
        message: /^IPPool 'pooled' serves SendingStream 'pooled', which is older; a pool serves one stream$/,
      },
    },
    { right: 'without the older stream', make: () => stage.kubectl('delete', 'sendingstream', name, '--timeout=120s') },
    { right: 'Ready', make: () => stage.ready('sendingstream', 'newcomer', WITHIN_MILLIS) },
  ]
}

/** The submission certificate, and the port it is served on. */
async function credentialsLane(stage: Stage, cleanUp: AsyncDisposableStack): Promise<readonly Step[]> {
  const [name, instance] = ['certified', 'mtainstance/certified-0-a']
  const { certificate, key } = await stage.issueCertificate(name)
  const tls = (data: Readonly<Record<string, string>>) => stage.apply(secret(`${name}-tls`, data))
  const changed = async (data: Readonly<Record<string, string>>) => {
    await tls(data)
    await lookAgain(stage, `${name}-0-a`)
  }
  let taken: AsyncDisposable | undefined
  return [
    {
      wrong: 'a Secret that does not exist',
      make: () =>
        stage.apply(
          pool(name, { addresses: [nodeAddress(NODE, 3)] }),
          stream(name, { submission: { tlsSecretRef: { name: `${name}-tls` } } }),
        ),
      says: {
        on: instance,
        condition: 'SecretsFound',
        reason: 'SecretNotFound',
        message: /^Secret 'certified-tls' \(tlsSecretRef\) must exist$/,
      },
    },
    {
      wrong: 'a Secret without the key of its certificate',
      make: () => tls({ 'tls.crt': certificate }),
      says: {
        on: instance,
        condition: 'SecretsFound',
        reason: 'SecretKeyMissing',
        message: /^Secret 'certified-tls' \(tlsSecretRef\) must have the keys tls\.crt and tls\.key, had tls\.crt$/,
      },
    },
    {
      wrong: 'a port that something else has',
      make: async () => {
        const { spec } = await stage.read<MTAInstance>('mtainstance', `${name}-0-a`)
        taken = cleanUp.use(await takePort(stage.clientExec, spec.ports.submission))
        await tls({ 'tls.crt': certificate, 'tls.key': key })
      },
      says: { on: instance, condition: 'PodRunning', reason: 'PortTaken', message: /port must be free, is taken: .*\(EADDRINUSE\)/ },
    },
    { right: 'the port let go', make: async () => taken?.[Symbol.asyncDispose]() },
    { right: 'Ready', make: () => allReady(stage, name) },
    {
      wrong: 'a certificate that is none',
      make: () => changed({ 'tls.crt': 'not a certificate', 'tls.key': key }),
      says: {
        on: instance,
        condition: 'CredentialsLoaded',
        reason: 'CertificateWrong',
        message: /^tls\.crt and tls\.key must be a matching pair in PEM: .*; the pair before stays in use$/,
      },
    },
    { right: 'the certificate as it was', make: () => changed({ 'tls.crt': certificate, 'tls.key': key }) },
    { right: 'Ready', make: () => allReady(stage, name) },
  ]
}

const LATE_CLASS = 'local-late'
const LATE_FOLDER = '/var/lib/mtafleet-late'

async function forgetClass(stage: Stage): Promise<void> {
  // The volume goes with its claim, which goes with the namespace.
  await stage.kubectl('delete', 'persistentvolume,storageclass', LATE_CLASS, '--ignore-not-found', '--wait=false')
}

/** The queue's volume, and users in a Secret of their own. */
async function volumeLane(stage: Stage): Promise<readonly Step[]> {
  const [name, instance] = ['stored', 'mtainstance/stored-0-a']
  const users = (text: string) => stage.apply(secret(`${name}-users`, { anna: text }))
  const good = await stage.hashPassword('a long password')
  return [
    {
      wrong: 'a StorageClass that does not exist',
      make: async () => {
        await users('a long password')
        await stage.apply(
          pool(name, { addresses: [nodeAddress(NODE, 4)] }),
          stream(name, { queue: { storageClassName: LATE_CLASS }, submission: { authSecretRef: { name: `${name}-users` } } }),
        )
      },
      says: {
        on: instance,
        condition: 'VolumeBound',
        reason: 'StorageClassNotFound',
        message: /^StorageClass 'local-late' of volume claim 'stored-0-a-queue' must exist$/,
      },
    },
    {
      wrong: 'a node without a volume',
      make: () => stage.apply(localStorageClass(LATE_CLASS)),
      says: {
        on: instance,
        condition: 'VolumeBound',
        reason: 'NoVolumeLeft',
        message: /^volume claim 'stored-0-a-queue' finds no free volume of StorageClass 'local-late' on node 'node4'/,
      },
    },
    {
      wrong: 'a volume that is too small',
      make: () =>
        stage.apply(localVolume(LATE_CLASS, { storageClassName: LATE_CLASS, nodeName: 'node4', path: LATE_FOLDER, capacity: '128Mi' })),
      says: {
        on: instance,
        condition: 'VolumeBound',
        reason: 'NoVolumeLeft',
        message: /^volume claim 'stored-0-a-queue' must have 256Mi, but the largest free volume .* on node 'node4' has 128Mi/,
      },
    },
    {
      wrong: 'a password that is not hashed',
      make: () => edit(stage, 'persistentvolume', LATE_CLASS, { capacity: { storage: '512Mi' } }),
      says: { on: instance, condition: 'CredentialsLoaded', reason: 'UsersWrong', message: /^user anna: / },
    },
    {
      right: 'a hash',
      make: async () => {
        await users(good)
        await lookAgain(stage, `${name}-0-a`)
      },
    },
    { right: 'Ready', make: () => allReady(stage, name) },
  ]
}

const LISTEN = "require('node:net').createServer().listen(Number(process.argv[1]), '0.0.0.0', () => console.log('listening'))"

/** Something that is not ours listens on the port of the node, until it is disposed of. */
async function takePort(exec: readonly string[], port: number): Promise<AsyncDisposable> {
  const [file, ...args] = [...exec, process.execPath, '-e', LISTEN, String(port)]
  const child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const first = await Promise.race([once(child.stdout, 'data').then(String), closed.then(() => 'it ended')])
  must(first.startsWith('listening'), `something must listen on port ${port}, was: ${first}`)
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}
