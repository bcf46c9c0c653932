import { openFleet } from '#test/scenarios/fleet.ts'
import type { Load } from '#test/scenarios/load.ts'
import { Stage } from '#test/scenarios/stage.ts'
import { secret } from '#test/builders/manifests.ts'
import { loseANode } from './lose-a-node.ts'

/**
 * `npm run demo`: a cluster, the chart, the examples, 2,000 messages by a real client, kill -9 on the way, at the end a node without power,
 * and the comparison of what was accepted with what arrived. Exit status 0 only when everything accepted arrived, from the addresses that were assigned.
 */

const NAMESPACE = 'mail'
const STREAMS = [
  { name: 'password-resets', count: 1200, tls: 'starttls' },
  { name: 'marketing', count: 800, tls: 'implicit' },
] as const

const started = performance.now()
const say = (text: string): void => console.log(text)
const step = (text: string): void => say(`\n── ${Math.round((performance.now() - started) / 1000)} s ── ${text}`)

step('cluster, image, small internet, chart')
await using fleet = await openFleet({ say })
const stage = new Stage(NAMESPACE, fleet, say)

step('namespace, Secrets, examples/')
await stage.prepare()
const certificate = await stage.issueCertificate(...STREAMS.map((one) => one.name), 'receipts')
await stage.apply(secret('submission-tls', { 'tls.crt': certificate.certificate, 'tls.key': certificate.key }, 'kubernetes.io/tls'))
for (const file of ['01-one-stream', '02-two-streams', '03-hot-standby']) say(await fleet.kubectl('apply', '-f', `examples/${file}.yaml`))
await stage.kubectl('wait', '--for=condition=Ready', 'sendingstreams', '--all', '--timeout=120s')
await show('get', 'sendingstreams,ippools,mtainstances')

step(`${STREAMS.reduce((sum, one) => sum + one.count, 0)} messages over TLS and AUTH`)
const loads = await Promise.all(
  STREAMS.map(async (one) => ({
    ...one,
    load: await stage.load(one.name, {
      count: one.count,
      connections: 8,
      perSecond: 60,
      tls: one.tls,
      domains: stage.internet.friendlyDomains,
    }),
  })),
)
const ticker = setInterval(
  () => say(loads.map((one) => `  ${one.name}: ${one.load.acceptedCount()} of ${one.count} accepted`).join('   ')),
  5000,
)
try {
  await share(loads[0]!.load, loads[0]!.count, 0.3)
  step('kill -9 of the agent password-resets-0-a')
  await stage.killAgent('password-resets-0-a', 'SIGKILL')
  await share(loads[0]!.load, loads[0]!.count, 0.6)
  const leader = await stage.operatorLeader()
  step(`kill -9 of the leading operator ${leader.pod}`)
  await stage.killPod(stage.operatorNamespace, leader.pod, 'SIGKILL')
  for (const one of loads) await one.load.finished()
} finally {
  clearInterval(ticker)
}

step('accepted = arrived?')
let accepted = 0
for (const one of loads) {
  const report = await one.load.finished()
  accepted += report.accepted.length
  await stage.allArrived(one.name, report)
}
const perSource = await checkSources()
say(perSource.map((one) => `  ${one.address}  ${one.instance.padEnd(22)} ${one.count} messages as ${one.hostNames}`).join('\n'))
await stage.waitForReady(STREAMS.map((one) => one.name))
await show('get', 'sendingstreams,ippools,mtainstances,pods')
await show('get', 'events', '--sort-by=.lastTimestamp', '-o', 'custom-columns=REASON:.reason,ABOUT:.involvedObject.name,MESSAGE:.message')

step(`${accepted} accepted, all of them arrived, each from an address of its stream`)
await loseANode({ stage, step, say, show })
await stage.kubectl('wait', '--for=condition=Ready', 'sendingstreams', '--all', '--timeout=180s')
await show('get', 'sendingstreams,mtainstances')
step('all streams are Ready again')
say(`
Look around:   eval "$(npm -s run cluster -- env)"
               kubectl get sendingstreams,ippools,mtainstances -A
               kubectl describe -n mail mtainstance password-resets-0-a
               npm run internet -- arrived
Take it down:  npm run internet -- down; npm run cluster -- down`)

async function share(load: Load, count: number, part: number): Promise<void> {
  await load.accepted(Math.round(count * part))
}

async function show(...args: string[]): Promise<void> {
  say(`\n$ kubectl -n ${NAMESPACE} ${args.join(' ')}\n${await stage.kubectl(...args)}`)
}

/** Every arrival must have come from an address that the pool gave to an instance of the stream that accepted the message. */
async function checkSources(): Promise<{ address: string; instance: string; hostNames: string; count: number }[]> {
  const owners = (
    await Promise.all(STREAMS.map(async (one) => (await stage.addressOwners(one.name)).map((owner) => ({ ...owner, stream: one.name }))))
  ).flat()
  const streamOf = new Map<string, string>()
  for (const one of loads) for (const message of (await one.load.finished()).accepted) streamOf.set(message.messageId, one.name)
  const arrivals = (await stage.internet.arrivals()).filter((one) => streamOf.has(one.messageId ?? ''))
  const wrong = arrivals.filter(
    (one) => owners.find((owner) => owner.address === one.sourceAddress)?.stream !== streamOf.get(one.messageId ?? ''),
  )
  if (wrong.length > 0)
    throw new Error(`${wrong.length} messages came from an address of another stream, ${wrong[0]?.sourceAddress} for one`)
  return owners.map((owner) => {
    const mine = arrivals.filter((one) => one.sourceAddress === owner.address)
    return { ...owner, hostNames: [...new Set(mine.map((one) => one.hello))].join(', '), count: mine.length }
  })
}
