import { PLAIN, TEMPFAIL } from './internet.ts'
import { openStuckPage } from './page.ts'
import { conditionIs, eventsOf, lastFailover, replicationOf } from './pair-looks.ts'
import { type Member, openPair, type Reign } from './pair.ts'
import { must, mustEqual, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'
import { parseTable } from './table.ts'

/** In the queue when the standby leaves the set, and delivered by the primary alone: what force is sure to send again. */
const DELIVERED_ALONE = 60
/** Accepted by the primary alone and never delivered by it: what force does without until that disk is back. */
const ACCEPTED_ALONE = 80
/** Providers that nobody else of the scenario sends to, so that what arrives there can be counted. */
const BEFORE = 'selfsigned'
const AFTER = 'preferences'
/** Longer than a promise and the claim after it: who would lead by itself would lead by then. */
const NOBODY_LEADS_SECONDS = 12
const BACK_WITHIN_MILLIS = 60_000

export const scenario: Scenario = {
  name: 'pair-stuck',
  promise:
    'both nodes of a pair lose power: it comes back by itself; only an old copy is left: it waits for a word, which is refused while the primary is seen, and what it lacked comes back with the disk that had it; kubectl says so all along',
  needs: 'local',
  async run(stage) {
    const faults = stage.localFaults()
    const page = await openStuckPage(stage)
    const pair = await openPair(stage, 'bulk')
    const [first, second] = [await pair.primary(), await pair.standby()]
    await using cleanUp = new AsyncDisposableStack()
    for (const { node } of [first, second]) cleanUp.defer(async () => await faults.powerOn(node))
    const load = await pair.load({ perSecond: 40 })
    const probe = await pair.probe()
    await load.accepted(200)
    await mustShowRoles(stage, first, second)

    // 1. Both at once, under load. Nobody does anything but give them power again.
    const bothOffAt = Date.now()
    await Promise.all([faults.powerOff(first.node), faults.powerOff(second.node)])
    const onAt = Date.now()
    await Promise.all([faults.powerOn(first.node), faults.powerOn(second.node)])
    const old = await pair.heirOf(first, BACK_WITHIN_MILLIS)
    const back = await pair.gap(probe, old, bothOffAt)
    await pair.inSync()

    // 2. The standby leaves the set and the primary goes on alone: delivers what both had, accepts what nobody else will have.
    const copy = await pair.standby()
    await stage.internet.behave(BEFORE, TEMPFAIL)
    await stage.internet.behave(AFTER, TEMPFAIL)
    await pair.send(DELIVERED_ALONE, `${BEFORE}.example`)
    await faults.powerOff(copy.node)
    await pair.aloneSince()
    await stage.internet.behave(BEFORE, PLAIN)
    await arrivedFrom(stage, old, BEFORE, DELIVERED_ALONE)
    await pair.send(ACCEPTED_ALONE, `${AFTER}.example`)
    await conditionIs(stage, 'sendingstream/bulk', 'AcceptingAlone', { status: 'True', reason: 'OneDisk' })
    await mustShow(stage, 'sendingstream', [{ NAME: 'bulk', UP: '1', STANDBYS: '1', 'IN SYNC': 'False' }])

    // 3. The word is refused while the primary is seen running, and changes nothing.
    const [promote, heading] = [page(old.name, copy.name), 'Only an old copy is left']
    const alone = { status: 'False', reason: 'NoStandbyInSync' } as const
    await conditionIs(stage, 'sendingstream/bulk', 'FailoverPossible', alone)
    await promote(heading)
    const refused = await conditionIs(stage, `mtainstance/${copy.name}`, 'FailoverPossible', {
      ...alone,
      message: new RegExp(`; promotion refused: '${old.name}', whose copy is in the set, must be down, but its Pod is seen running$`),
    })
    mustEqual('epoch after a word that was refused', (await pair.primary()).epoch, old.epoch)
    await stage.kubectl('annotate', 'mtai', copy.name, 'mtafleet.io/promote-')

    // 4. The primary is lost, the old copy comes back: it does not lead by itself.
    const { incarnation: before } = await replicationOf(stage, copy.name)
    await faults.powerOff(old.node)
    await faults.powerOn(copy.node)
    await stage.waitFor(`another process of ${copy.name}`, BACK_WITHIN_MILLIS, async () => {
      const { incarnation, role } = await replicationOf(stage, copy.name)
      return incarnation !== before && role === 'Standby'
    })
    await stage.pass(NOBODY_LEADS_SECONDS)
    mustEqual('epoch while only an old copy is left', (await pair.record()).epoch, old.epoch)
    await conditionIs(stage, `mtainstance/${copy.name}`, 'FailoverPossible', alone)
    await conditionIs(stage, 'sendingstream/bulk', 'FailoverPossible', alone)

    // 5. The same word again. It is granted as soon as the node of the old primary is known to be silent.
    const askedAt = Date.now()
    await promote(heading)
    const heir = await pair.heirOf(old)
    const forced = await pair.gap(probe, heir, askedAt)
    mustEqual('who leads by force', heir.name, copy.name)
    mustEqual('why', (await lastFailover(stage, heir)).reason, 'Forced')
    await conditionIs(stage, 'sendingstream/bulk', 'AcceptingAlone', { status: 'True', reason: 'OneDisk' })
    await stage.waitFor('Events that tell of the force', 30_000, async () => {
      const told = await eventsOf(stage, 'bulk')
      return told.includes('PromotionForced') && told.includes('PromotedByForce')
    })
    const looks = await page(heir.name, old.name)('A pair needs you')
    for (const said of ['"reason":"Forced"', 'AcceptingAlone=True OneDisk: ', 'FailoverPossible=False NoStandbyInSync: '])
      must(looks.includes(said), `the page's first commands must show ${said}, showed ${looks}`)
    await arrivedFrom(stage, heir, BEFORE, DELIVERED_ALONE)
    await stage.internet.behave(AFTER, PLAIN)
    mustEqual('what arrived of that which only the old primary has', await countArrivals(stage, AFTER), 0)

    // 6. The disk of the old primary is back, and with it what it alone had.
    await faults.powerOn(old.node)
    await pair.inSync()
    await arrivedFrom(stage, heir, AFTER, ACCEPTED_ALONE)
    await stage.waitFor(`${old.name} to have handed over all`, 30_000, async () => (await replicationOf(stage, old.name)).setAside === 0)
    await mustShowRoles(stage, heir, old)

    // Both down, the copy leaves, the old primary is lost: each may have cost what was in flight and unshipped. And what the copy still had to send.
    const counts = await pair.mustHaveArrived(3, DELIVERED_ALONE)
    must(
      counts.duplicated >= DELIVERED_ALONE,
      `what was delivered since the copy left must come twice, as the page says: ${counts.duplicated}`,
    )
    await pair.mustHaveSentInTurn(first, old, heir)
    return {
      ...counts,
      acceptedAfterPowerMillis: bothOffAt + back.acceptedMillis - onAt,
      forcedSaidMillis: forced.saidMillis,
      forcedAcceptedMillis: forced.acceptedMillis,
      forcedDeliveredMillis: forced.deliveredMillis,
      refused: refused.message,
    }
  },
}

/** The columns of `kubectl get -o wide`, by which an administrator knows a pair. */
const COLUMNS = {
  mtainstance: 'NAME READY REASON STREAM MODE NODE ROLE QUEUED EPOCH IN-SYNC LAG DEFERRED ADDRESSES POD MESSAGE AGE',
  sendingstream: 'NAME READY REASON CLASS POOL PRIMARIES UP QUEUED DEFERRED STANDBYS IN-SYNC STOP MESSAGE AGE',
} as const

type Row = Readonly<Record<string, string>>

/** Waits until `kubectl get` shows these cells, and no other rows. */
async function mustShow(stage: Stage, kind: keyof typeof COLUMNS, wanted: readonly Row[]): Promise<void> {
  await stage.waitFor(`kubectl get ${kind} to show ${JSON.stringify(wanted)}`, 60_000, async () => {
    const text = await stage.kubectl('get', kind, '-o', 'wide')
    const { columns, rows } = parseTable(text)
    mustEqual(`columns of ${kind}`, columns.map((name) => name.replace(' ', '-')).join(' '), COLUMNS[kind])
    const cells = rows.map((row, index) => Object.fromEntries(Object.keys(wanted[index] ?? row).map((name) => [name, row[name]])))
    if (JSON.stringify(cells) === JSON.stringify(wanted)) return true
    throw new Error(`was\n${text}`)
  })
}

/** Roles, epoch, who is in sync, and a lag of the primary alone; of the stream, that all is well. */
async function mustShowRoles(stage: Stage, primary: Reign, standby: Member): Promise<void> {
  const inSync = JSON.stringify([primary.name, standby.name].toSorted())
  const rows = [
    { NAME: primary.name, READY: 'True', NODE: `node${primary.node}`, ROLE: 'Primary', EPOCH: String(primary.epoch), 'IN SYNC': inSync },
    { NAME: standby.name, READY: 'True', NODE: `node${standby.node}`, ROLE: 'Standby', EPOCH: String(primary.epoch), 'IN SYNC': '' },
  ]
  await mustShow(
    stage,
    'mtainstance',
    rows.toSorted((a, b) => (a.NAME < b.NAME ? -1 : 1)),
  )
  await mustShow(stage, 'sendingstream', [
    { NAME: 'bulk', READY: 'True', REASON: 'Serving', PRIMARIES: '1', UP: '1', STANDBYS: '1', 'IN SYNC': 'True', STOP: 'None' },
  ])
  const lags = parseTable(await stage.kubectl('get', 'mtai', '-o', 'wide')).rows.map(({ NAME, LAG }) => [NAME, LAG])
  for (const [name, lag] of lags)
    must(
      name === primary.name ? /^\d+$/.test(lag ?? '') : lag === '',
      `lag must be a number of the primary alone, was ${JSON.stringify(lags)}`,
    )
}

async function countArrivals(stage: Stage, provider: string, from?: Member): Promise<number> {
  const all = await stage.internet.arrivals()
  return all.filter((one) => one.provider === provider && (from === undefined || from.addresses.includes(one.sourceAddress))).length
}

/** Waits until so many messages have come there from this instance. */
async function arrivedFrom(stage: Stage, from: Member, provider: string, count: number): Promise<void> {
  await stage.waitFor(`${count} messages from ${from.name} at ${provider}`, 90_000, async () => {
    const arrived = await countArrivals(stage, provider, from)
    if (arrived >= count) return true
    throw new Error(`there were ${arrived}`)
  })
}
