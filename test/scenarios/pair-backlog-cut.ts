import type { SourceEdit } from '#scripts/image.ts'
import type { BehaviourInput } from '#test/internet/behaviour.ts'
import { MOST_DUPLICATES, openPair, type Pair, type Reign } from './pair.ts'
import { BrokenPromise, type Facts, must, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

/** Enough to be busy with for longer than the cut lasts. */
const MESSAGES = 5000
const PROVIDERS = ['plain', 'starttls']
const CONNECTIONS = 8
const slow = (millis: number): BehaviourInput => ({ rules: [{ at: 'dot', action: { do: 'delay', millis } }] })
/** Some eight deliveries a second, while the queue fills. */
const FILLING = slow(2000)
/** Some 300 a second: enough to meet the bound of duplicates before a right ends. */
const EMPTYING = slow(50)
/** From the claim of the heir on: in this time both have mail to send, and one of them may. */
const BOTH_COULD_SEND_SECONDS = 8

/** What keeps a cut off primary silent, left out: its right never ends, nor do marks that nobody confirms hold it up. */
const ENDLESS: readonly SourceEdit[] = [
  {
    file: 'mta-agent/replication/rights.ts',
    from: 'return beacon ? beacon.at + timers.right :',
    to: 'return beacon ? Number.POSITIVE_INFINITY :',
  },
  { file: 'mta-agent/queue/marks-behind.ts', from: 'const MOST = 500', to: 'const MOST = Number.POSITIVE_INFINITY' },
]

export const scenario: Scenario = {
  name: 'pair-backlog-cut',
  promise: `a primary with ${MESSAGES} messages in its queue is cut off from its standby and the API server, and from no receiver: its standby sends what is left, and it is silent`,
  needs: 'local',
  async run(stage) {
    const { pair, first, heir, facts } = await cutOff(stage)
    await pair.mustHaveSentInTurn(first, heir)
    must(facts.duplicated <= MOST_DUPLICATES, `at most ${MOST_DUPLICATES} may arrive twice, were ${facts.duplicated}`)
    return facts
  },
}

/** A check that was never seen to fail says little. */
export const withWrongAgent: Scenario = {
  name: 'pair-backlog-cut-wrong-agent',
  promise:
    'the same with agents whose right never ends, on purpose: two send at once, the scenarios notice, and even so nothing that was accepted is lost',
  needs: 'local',
  // An image of its own is built for it; it judges the judgement, which seldom changes.
  occasion: 'byName',
  async run(stage) {
    const { pair, first, heir, facts } = await cutOff(stage, await stage.otherImage(ENDLESS))
    const { begunByTheHeir, begunByTheFirstAfterTheClaim } = facts
    must(begunByTheHeir > 0 && begunByTheFirstAfterTheClaim > 0, `two must have sent at once, had not: ${JSON.stringify(facts)}`)
    const judged = await Promise.allSettled([pair.mustHaveSentInTurn(first, heir)])
    const [complaint] = judged.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
    if (complaint === undefined) throw new BrokenPromise(`two that send at once must be noticed, were not: ${JSON.stringify(facts)}`)
    if (!(complaint instanceof BrokenPromise)) throw complaint
    return facts
  },
}

type CutOff = {
  readonly pair: Pair
  readonly first: Reign
  readonly heir: Reign
  readonly facts: Facts & Record<'duplicated' | 'begunByTheHeir' | 'begunByTheFirstAfterTheClaim', number>
}

async function cutOff(stage: Stage, image?: string): Promise<CutOff> {
  const faults = stage.localFaults()
  await behave(FILLING)
  const pair = await openPair(stage, 'cutoff', { maxConnectionsPerDestination: CONNECTIONS, ...(image && { image }) })
  const [first, second] = [await pair.primary(), await pair.standby()]
  const domains = PROVIDERS.map((provider) => `${provider}.example`)
  const filled = await (await stage.load('cutoff', { count: MESSAGES, connections: 16, domains, sizeBytes: 2000 })).finished(120_000)
  await behave(EMPTYING)
  const before = (await stage.internet.arrivals()).length
  await stage.waitFor('its queue to be worked off', 30_000, async () => (await stage.internet.arrivals()).length > before + 100)

  await faults.cutBetween(first.node, second.node)
  await faults.cutFromApi(first.node)
  const heir = await pair.heirOf(first).finally(async () => {
    await stage.pass(BOTH_COULD_SEND_SECONDS)
    await faults.healFromApi(first.node)
    await faults.healBetween(first.node, second.node)
  })
  const turns = await pair.turns()
  await pair.inSync()
  await behave({})
  const verdict = await stage.allArrived('cutoff', filled)
  const late = (await stage.internet.beginnings()).filter(
    ({ at, sourceAddress }) => first.addresses.includes(sourceAddress) && Date.parse(at) > heir.claimedAt,
  )
  const transactionsOf = (owner: string) => turns.reduce((sum, one) => sum + (one.owner === owner ? one.transactions : 0), 0)
  return {
    pair,
    first,
    heir,
    facts: {
      accepted: filled.accepted.length,
      ...verdict,
      turns: turns.length,
      begunByTheFirst: transactionsOf(first.name),
      begunByTheHeir: transactionsOf(heir.name),
      begunByTheFirstAfterTheClaim: late.length,
    },
  }
  async function behave(behaviour: BehaviourInput): Promise<void> {
    for (const provider of PROVIDERS) await stage.internet.behave(provider, behaviour)
  }
}
