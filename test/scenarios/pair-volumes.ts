import { open } from 'node:fs/promises'
import { localStorageClass, localVolume } from '#test/builders/manifests.ts'
import { PLAIN, TEMPFAIL } from './internet.ts'
import type { LoadReport } from './load.ts'
import { openStuckPage } from './page.ts'
import { conditionIs, longestPause, mustBeShort } from './pair-looks.ts'
import { openPair } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** To take a standby out of the set that says nothing any more; nobody waits for it after that. */
const REMOVED_WITHIN_MILLIS = 6_000
/** What another stream has left on its volume. */
const LEFT_BEHIND = 30
const NOT_YET = 'selfsigned'

export const scenario: Scenario = {
  name: 'pair-volumes',
  promise:
    "a standby whose volume is damaged, lost or another stream's, or that finds none free, says so while the primary serves; the page's commands copy all anew, and the other stream's mail stays on its volume",
  needs: 'local',
  async run(stage) {
    await using volumes = await openVolumes(stage)
    for (const node of NODES) await volumes.add(`at-first-${node}`, node)
    const pair = await openPair(stage, 'bulk', { storageClassName: CLASS })
    const [first, second] = [await pair.primary(), await pair.standby()]
    const page = (await openStuckPage(stage))(first.name, second.name)
    const makeAnew = () => page("A standby's volume must be made anew")
    const standbySays = (type: string, reason: string, message?: RegExp) =>
      conditionIs(stage, `mtainstance/${second.name}`, type, { status: 'False', reason, ...(message && { message }) })
    const load = await pair.load({ perSecond: 40 })
    const probe = await pair.probe()
    await load.accepted(200)
    const beganAt = Date.now()

    // 1. The disk gives back what was not written to it.
    await damageQueue(stage, second.name)
    await standbySays('PodRunning', 'VolumeDamaged', /: CorruptRecord: meta identity: must be of checksum /)
    await conditionIs(stage, `mtainstance/${second.name}`, 'Stalled', { status: 'True', reason: 'VolumeDamaged' })
    await standbySays('InSync', 'OutOfSync')
    await conditionIs(stage, 'sendingstream/bulk', 'AcceptingAlone', { status: 'True', reason: 'OneDisk' })

    // 2. Its claim is made anew and finds no volume on its node: one on another node is of no use.
    await volumes.add('elsewhere', first.node)
    const anewAt = Date.now()
    const looksAround = async () => {
      await standbySays(
        'VolumeBound',
        'NoVolumeLeft',
        /^volume claim 'bulk-0-.-queue' finds no free volume .* on node 'node\d': add one there$/,
      )
      const shown = await page('A volume claim is not bound')
      must(/^NoVolumeLeft: .*\n/.test(shown), `the page's commands must show why the claim is not bound, showed ${shown}`)
      must(/elsewhere +\S+ +\S+ +Available +<none> +node\d/.test(shown), `they must show which volumes there are, showed ${shown}`)
      await volumes.add('anew', second.node)
      await page('A volume claim is not bound', { block: 1 })
    }
    await Promise.all([makeAnew(), looksAround()])
    await pair.inSync()
    const anewMillis = Date.now() - anewAt

    // 3. Its volume is taken out of the cluster under it.
    await volumes.remove('anew')
    await standbySays('VolumeBound', 'VolumeLost', /^volume 'anew' of claim 'bulk-0-.-queue' does not exist any more, /)
    await volumes.add('after-lost', second.node)
    await makeAnew()
    await pair.inSync()

    // 4. A volume that another stream has left, with mail on it, is freed by hand without being wiped, and comes to a claim of ours.
    await volumes.add('others', second.node)
    const others = await leaveMail(stage, second.node)
    await volumes.free('others')
    let againMillis = 0
    const getsTheWrongOne = async () => {
      const words = await standbySays(
        'PodRunning',
        'ForeignVolume',
        /: ForeignVolume: the volume must be of stream .*\/bulk shard 0, was of stream .*\/other shard 0; it was left alone/,
      )
      await standbySays('InSync', 'OutOfSync')
      await volumes.add('last', second.node)
      const againAt = Date.now()
      await makeAnew()
      againMillis = Date.now() - againAt
      return words
    }
    const [, words] = await Promise.all([makeAnew(), getsTheWrongOne()])
    await pair.inSync()

    const pause = longestPause(probe.soFar(), beganAt)
    mustEqual('epoch', (await pair.primary()).epoch, first.epoch)
    const counts = await pair.mustHaveArrived(0)
    mustBeShort('while the standby was without its volume', pause, REMOVED_WITHIN_MILLIS)

    // 5. Nothing on it was touched: its own stream takes it up again and delivers.
    await volumes.free('others')
    await deployOther(stage, second.node)
    await stage.internet.behave(NOT_YET, PLAIN)
    const { arrived } = await stage.allArrived('other', others, { alone: true })
    return { ...counts, anewMillis, againMillis, longestPauseMillis: pause.millis, othersArrived: arrived, foreign: words.message }
  },
}

/** Where a pair is. */
const NODES = [1, 2]
const CLASS = 'local-stuck'
const FOLDER = '/var/lib/mtafleet-stuck'
const MADE_BY = 'mtafleet.test/made-by'

type Volumes = AsyncDisposable & {
  /** One more empty volume on this node; a claim that waits may have it at once. */
  add(name: string, node: number): Promise<void>
  /** The object goes, whoever uses it. */
  remove(name: string): Promise<void>
  /** What an administrator does who thinks that nobody needs what is on it: the next claim gets it as it is. */
  free(name: string): Promise<void>
}

/** Volumes of a StorageClass of their own, made and given away one by one. */
async function openVolumes(stage: Stage): Promise<Volumes> {
  const { nodeExec } = stage.localFaults()
  const forget = async () => {
    await stage.kubectl('delete', 'persistentvolume', '-l', `${MADE_BY}=${CLASS}`, '--wait=false')
    await stage.kubectl('delete', 'storageclass', CLASS, '--ignore-not-found')
    for (const node of NODES) await nodeExec(node, ['rm', '-rf', FOLDER])
  }
  await forget()
  await stage.apply(localStorageClass(CLASS))
  return {
    async add(name, node) {
      const path = `${FOLDER}/${name}`
      await nodeExec(node, ['mkdir', '-p', path])
      await stage.apply(localVolume(name, { storageClassName: CLASS, nodeName: `node${node}`, path, labels: { [MADE_BY]: CLASS } }))
    },
    async remove(name) {
      await stage.kubectl('delete', 'persistentvolume', name, '--wait=false')
      await stage.kubectl('patch', 'persistentvolume', name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}')
    },
    async free(name) {
      await stage.kubectl('wait', '--for=jsonpath={.status.phase}=Released', `persistentvolume/${name}`, '--timeout=60s')
      await stage.kubectl('patch', 'persistentvolume', name, '--type=merge', '-p', '{"spec":{"claimRef":null}}')
    },
    [Symbol.asyncDispose]: forget,
  }
}

/** On the node of the standby, with addresses that the pair does not have. */
const deployOther = (stage: Stage, node: number): Promise<void> =>
  stage.deploy('other', { nodes: [node], addressesOf: [3], queue: { storageClassName: CLASS } })

/** A stream that goes while its mail is still queued; its claim is deleted too, so that nothing but the volume has it. */
async function leaveMail(stage: Stage, node: number): Promise<LoadReport> {
  await deployOther(stage, node)
  await stage.internet.behave(NOT_YET, TEMPFAIL)
  const load = await stage.load('other', { count: LEFT_BEHIND, connections: 2, domains: [`${NOT_YET}.example`], sizeBytes: 1500 })
  const report = await load.finished(60_000)
  mustEqual('accepted by the other stream', report.accepted.length, LEFT_BEHIND)
  await stage.kubectl('delete', 'sendingstream', 'other', '--timeout=120s')
  await stage.kubectl('delete', 'pvc', 'other-0-a-queue', '--timeout=60s')
  return report
}

const QUEUE_FILE = 'var/lib/mtafleet/queue/queue.mdb'

/**
 * Changes a byte of every page that says whose copy this is, under the agent's feet: it stands still meanwhile, so nothing of what it was about to
 * write comes after it.
 */
async function damageQueue(stage: Stage, instance: string): Promise<void> {
  const pid = await stage.agentProcess(instance)
  await stage.killAgent(instance, 'SIGSTOP')
  try {
    await using file = await open(`/proc/${pid}/root/${QUEUE_FILE}`, 'r+')
    const content = await file.readFile()
    const word = Buffer.from('"copyId"')
    let damaged = 0
    for (let at = content.indexOf(word); at >= 0; at = content.indexOf(word, at + 1)) {
      await file.write(Buffer.from('X'), 0, 1, at + 1)
      damaged += 1
    }
    must(damaged > 0, 'the queue must say whose copy it is, does not')
  } finally {
    await stage.killAgent(instance, 'SIGKILL')
  }
}
