import type { MTAInstance } from '#crds/mta-instance.ts'
import { type Finding, good, stuck, unknown, waits } from './finding.ts'
import { ADDRESS_HOLDER } from './objects/address-holder.ts'
import { CONTAINER } from './objects/pod.ts'
import { refuseNode } from './place-instance.ts'
import {
  type ContainerState,
  type ContainerStatus,
  findObject,
  findPodCondition,
  type FleetSnapshot,
  hasEnded,
  isDeleting,
  type Pod,
} from './snapshot.ts'

/** What a Pod's status means for the instance. While its node is silent, nothing that the Pod's status says is news. */

export function judgePod(fleet: FleetSnapshot, instance: MTAInstance, pod: Pod | undefined): readonly Finding[] {
  if (pod === undefined) {
    return [waits('PodScheduled', 'PodMissing', 'there is no Pod yet'), waits('PodRunning', 'PodMissing', 'there is no Pod yet')]
  }
  const scheduled = judgeScheduled(fleet, instance, pod)
  const node = judgeNode(fleet, pod.spec?.nodeName ?? instance.spec.nodeName)
  if (node !== undefined && scheduled.status === 'True') return [scheduled, node]
  const running = judgeRunning(pod)
  return [scheduled, running, ...(running.status === 'True' ? [judgeReady(pod)] : [])]
}

/** The scheduler counts nodes and names none; which one it must be, and what it lacks, is known here. */
function judgeScheduled(fleet: FleetSnapshot, { spec }: MTAInstance, pod: Pod): Finding {
  if (pod.spec?.nodeName !== undefined) return good('PodScheduled', 'Scheduled', `on node '${pod.spec.nodeName}'`)
  const condition = findPodCondition(pod.status?.conditions, 'PodScheduled')
  if (condition?.status === 'False') {
    const words = condition.message ?? 'the scheduler found no node'
    const no = spec.nodeName === undefined ? undefined : refuseNode(fleet, spec.nodeName, spec.placement)
    const why = no === undefined ? words : `node '${spec.nodeName}' ${no}; the scheduler says: ${words}`
    return stuck('PodScheduled', condition.reason ?? 'Unschedulable', why)
  }
  return waits('PodScheduled', 'Scheduling', 'the scheduler has not decided yet')
}

function judgeNode(fleet: FleetSnapshot, nodeName: string | undefined): Finding | undefined {
  if (nodeName === undefined) return undefined
  const node = findObject(fleet.nodes, undefined, nodeName)
  if (node === undefined) return { ...unknown('PodRunning', 'NodeNotFound', `node '${nodeName}' does not exist any more`), cure: 'Admin' }
  const ready = findPodCondition(node.status?.conditions, 'Ready')
  if (ready === undefined || ready.status === 'True') return undefined
  const reason = ready.status === 'Unknown' ? 'NodeUnreachable' : 'NodeNotReady'
  return unknown('PodRunning', reason, `node '${nodeName}' is not ready: ${ready.message ?? ready.reason ?? 'no reason given'}`)
}

function judgeRunning(pod: Pod): Finding {
  if (isDeleting(pod)) return waits('PodRunning', 'PodTerminating', 'the Pod is ending')
  if (hasEnded(pod)) {
    const { phase = 'Failed', reason = 'PodEnded', message = phase } = pod.status ?? {}
    return waits('PodRunning', reason, `the Pod has ended and is made again: ${message}`)
  }
  const container = tellingContainer(pod)
  return container === undefined ? NOT_REPORTED : judgeContainer(container)
}

/** The agent's; but that waits until the address holder runs, and has nothing to say before. */
function tellingContainer({ status }: Pod): ContainerStatus | undefined {
  const agent = status?.containerStatuses?.find(({ name }) => name === CONTAINER)
  const holder = status?.initContainerStatuses?.find(({ name }) => name === ADDRESS_HOLDER)
  const isHeldUp = agent?.state?.running === undefined && holder !== undefined && holder.state?.running === undefined
  return isHeldUp ? holder : agent
}

function judgeContainer(container: ContainerStatus): Finding {
  const { running, waiting, terminated } = container.state ?? {}
  if (running !== undefined) return good('PodRunning', 'Running', `running${restarts(container)}`)
  if (waiting !== undefined) return judgeWaiting(container, waiting)
  return terminated === undefined ? NOT_REPORTED : judgeEnded(container, terminated)
}

const NOT_REPORTED = waits('PodRunning', 'ContainerCreating', 'the kubelet has not reported on the container yet')

/** What keeps a container from starting. First match wins; what is missing here passes by itself. */
const WAITING: readonly { readonly match: RegExp; readonly reason: string }[] = [
  {
    match: /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable)$/,
    reason: 'ImageNotFound',
  },
  { match: /^(CreateContainerConfigError|CreateContainerError|RunContainerError|PreCreateHookError)$/, reason: 'ContainerNotStarted' },
]

function judgeWaiting(container: ContainerStatus, { reason = 'Waiting', message }: NonNullable<ContainerState['waiting']>): Finding {
  const ended = container.lastState?.terminated
  if (reason === 'CrashLoopBackOff' && ended !== undefined) return judgeEnded(container, ended)
  const rule = WAITING.find(({ match }) => match.test(reason))
  const text = message === undefined || message === '' ? reason : `${reason}: ${message}`
  return rule === undefined ? waits('PodRunning', reason, text) : stuck('PodRunning', rule.reason, text)
}

/** Restarts after which a crash is not called a passing one any more. */
const CRASHES_TO_STALL = 3
/** Last words that name what only a person can mend, however often the agent is started again. First match wins. */
const LAST_WORDS: readonly { readonly match: RegExp; readonly reason: string }[] = [
  { match: /EADDRINUSE|address already in use|port \d+ is taken/i, reason: 'PortTaken' },
  { match: /^ForeignVolume: /m, reason: 'ForeignVolume' },
  // The second are LMDB's, where it comes upon a page that is none before one of our checksums is looked at.
  { match: /^(CorruptRecord: |Error: MDB_(CORRUPTED|PAGE_NOTFOUND):)/m, reason: 'VolumeDamaged' },
]

function judgeEnded(container: ContainerStatus, ended: NonNullable<ContainerState['terminated']>): Finding {
  const said = (ended.message ?? '').trim()
  const who = container.name === CONTAINER ? 'the agent' : `container '${container.name}'`
  const text = `${who} ended with ${formatExit(ended)} (${ended.reason ?? 'no reason given'})${restarts(container)}${said === '' ? '' : `: ${said}`}`
  const rule = LAST_WORDS.find(({ match }) => match.test(said))
  if (rule !== undefined) return stuck('PodRunning', rule.reason, text)
  const reason = ended.reason === 'OOMKilled' ? 'OutOfMemory' : 'AgentCrashed'
  return (container.restartCount ?? 0) >= CRASHES_TO_STALL ? stuck('PodRunning', reason, text) : waits('PodRunning', reason, text)
}

/** containerd gives a signal as exit code 128 + its number, and leaves the field for it empty. */
const formatExit = ({ exitCode, signal = 0 }: NonNullable<ContainerState['terminated']>): string => {
  const number = signal > 0 ? signal : exitCode > 128 && exitCode <= 128 + 64 ? exitCode - 128 : 0
  return number === 0 ? `exit code ${exitCode}` : `signal ${number}`
}

const restarts = ({ restartCount = 0 }: ContainerStatus): string =>
  restartCount === 0 ? '' : `, restarted ${restartCount === 1 ? 'once' : `${restartCount} times`}`

function judgeReady(pod: Pod): Finding {
  const ready = findPodCondition(pod.status?.conditions, 'Ready')
  if (ready?.status === 'True') return good('PodReady', 'PodReady', 'the readiness probe passes')
  return waits('PodReady', 'PodNotReady', ready?.message ?? 'the readiness probe has not passed yet')
}
