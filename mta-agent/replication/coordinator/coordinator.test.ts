import { beforeEach, describe, expect, test } from 'vitest'
import type { RecordContent, ShardRecord } from '#agent/contract/record.ts'
import { KubeError } from '#kube/errors.ts'
import { FAST_TIMERS as timers } from '../timers.ts'
import type { BeaconLink } from './beacon-link.ts'
import { Coordinator } from './coordinator.ts'
import type { FromCoordinator } from './messages.ts'
import type { RecordAnswer } from './record-client.ts'
import { cellOfCoordinator, cellOfMain, createCell } from './shared-cell.ts'

/** The loop alone, on a clock that stands: what it tells, in which order, and what it takes for nothing. */

const a = { instance: 'a', copy: 'a1' }
const b = { instance: 'b', copy: 'b1' }
const WALL = 1_000_000_000

let now: number
let told: FromCoordinator[]
let actedWhenTold: boolean[]
let writes: RecordContent[]
let answer: () => RecordAnswer
let cell: SharedArrayBuffer
let announced: { readonly epoch: number; readonly signal: AbortSignal }[]

beforeEach(() => {
  ;[now, told, actedWhenTold, writes, announced, cell] = [0, [], [], [], [], createCell(0)]
})

function start(disk = { seen: 4, complete: true, quickClaimAt: 0 }): Coordinator {
  return new Coordinator({
    settings: { self: { ...b, incarnation: 'bi' }, timing: 'Fast', durability: 'Available', disk },
    cell: cellOfCoordinator(cell),
    record: {
      read: async () => answer(),
      write: async (_, content) => void writes.push(content),
    },
    tell: (message) => {
      told.push(message)
      if (message.kind === 'stepDown' || message.kind === 'sessionEnded') actedWhenTold.push(main().mayAct(now))
    },
    clock: () => now,
    wall: () => WALL + now,
    token: () => `token-${now}`,
    announce: (epoch, signal) => announced.push({ epoch, signal }),
    onBroken: (error) => {
      throw error
    },
  })
}

const record = (over: Partial<ShardRecord> = {}): RecordAnswer => ({
  record: { version: '7', holder: { instance: 'a', incarnation: 'ai' }, epoch: 4, inSync: [a, b], forcedEpoch: 0, ...over },
})
const kinds = (): readonly string[] => told.map(({ kind }) => kind).filter((kind) => kind !== 'told' && kind !== 'status')
const main = () => cellOfMain(cell)

/** Time passes; answers come. */
async function pass(coordinator: Coordinator, at: number): Promise<void> {
  now = at
  main().moved(at)
  coordinator.tick()
  for (let turn = 0; turn < 5; turn++) await Promise.resolve()
}

type Wire = BeaconLink & { readonly sent: readonly unknown[]; readonly ended: readonly string[] }
function openWire(): Wire {
  const sent: unknown[] = []
  const ended: string[] = []
  return {
    sent,
    ended,
    send: (epoch, message) => void sent.push({ epoch, ...message }),
    next: () => new Promise(() => undefined),
    end: () => void ended.push('end'),
    close: () => void ended.push('close'),
  }
}

const peer = { instance: 'a', address: '192.0.2.1', logPort: 1, beaconPort: 2 }
const welcome = { kind: 'welcome', version: 1, incarnation: 'ai', token: 't', forcedEpoch: 0 } as const

/** b leads epoch 5, alone, from 3,000 on, with three entries. */
async function lead(): Promise<Coordinator> {
  const coordinator = start()
  answer = () => record()
  await pass(coordinator, timers.promise)
  answer = () => record({ version: '8', holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b] })
  await pass(coordinator, 2_900)
  await pass(coordinator, 2_950)
  now = 3_000
  coordinator.take({ kind: 'seenStored', epoch: 5 })
  coordinator.take({ kind: 'appended', epoch: 5, last: 3 })
  coordinator.take({ kind: 'synced', epoch: 5, sequence: 3 })
  return coordinator
}

describe('a standby', () => {
  test('claims when its promise is over, and leads when `seen` is on the disk', async () => {
    await lead()
    expect(writes).toEqual([{ holder: { instance: 'b', incarnation: 'bi' }, epoch: 5, inSync: [b], forcedEpoch: 0 }])
    expect(kinds()).toEqual(['storeSeen', 'lead', 'committed'])
    expect([main().mayAct(3_000), main().mayStart(3_000), main().attachFrom(), main().rightUntil()]).toEqual([
      true,
      true,
      timers.promise + timers.attachWait,
      Number.POSITIVE_INFINITY,
    ])
    expect(announced.map(({ epoch, signal }) => [epoch, signal.aborted])).toEqual([[5, false]])
  })

  test('does nothing else before a quick claim is on the disk', async () => {
    const coordinator = start()
    answer = () => record({ holder: { instance: 'b', incarnation: 'before' } })
    await pass(coordinator, 10)
    expect([kinds(), writes]).toEqual([['noteQuickClaim'], []])
    for (let tick = 0; tick < 20_000; tick++) coordinator.tick()
    await pass(coordinator, 2_000)
    const wire = openWire()
    coordinator.onFound({ peer, epoch: 4, welcome, link: wire })
    expect([kinds(), writes, wire.ended]).toEqual([['noteQuickClaim'], [], []])
    coordinator.take({ kind: 'quickClaimNoted', wall: WALL + 10 })
    expect([kinds(), writes.length, wire.ended]).toEqual([['noteQuickClaim'], 1, ['close']])
  })

  test('follows who welcomes it, promises once its log is cut, and says meanwhile that it is there', () => {
    const coordinator = start()
    const wire = openWire()
    coordinator.onFound({ peer, epoch: 4, welcome, link: wire })
    expect(told.at(-1)).toEqual({ kind: 'follow', session: 1, epoch: 4, token: 't', peer, forcedEpoch: 0 })
    expect(coordinator.isLooking()).toBe(false)
    coordinator.take({ kind: 'logJoined', session: 1, epoch: 4, complete: true })
    expect(coordinator.state.role).toEqual({ kind: 'standby', following: 4 })
  })

  test('that ends in order says so to its primary, as its last word', () => {
    const coordinator = start()
    const wire = openWire()
    coordinator.onFound({ peer, epoch: 4, welcome, link: wire })
    coordinator.take({ kind: 'logJoined', session: 1, epoch: 4, complete: true })
    coordinator.take({ kind: 'stop' })
    expect([wire.sent, wire.ended]).toEqual([[{ epoch: 4, kind: 'leaving' }], ['end']])
    expect(told.map(({ kind }) => kind)).toContain('sessionEnded')
  })

  test('whose disk is full says that it leaves, and looks for a primary again', () => {
    const coordinator = start()
    const wire = openWire()
    coordinator.onFound({ peer, epoch: 4, welcome, link: wire })
    coordinator.take({ kind: 'logJoined', session: 1, epoch: 4, complete: true })
    const { pledge } = coordinator.state
    coordinator.take({ kind: 'logLinkEnded', session: 1, because: 'DiskFull' })
    expect([wire.sent, wire.ended]).toEqual([[{ epoch: 4, kind: 'leaving' }], ['end']])
    expect([coordinator.isLooking(), coordinator.state.role, coordinator.state.pledge]).toEqual([true, { kind: 'standby' }, pledge])
  })

  test('looks for another when there was no log to follow, and only then', () => {
    const coordinator = start()
    const wire = openWire()
    coordinator.onFound({ peer, epoch: 4, welcome, link: wire })
    coordinator.take({ kind: 'logLinkEnded', session: 99 })
    expect([coordinator.isLooking(), wire.ended]).toEqual([false, []])
    coordinator.take({ kind: 'logLinkEnded', session: 1 })
    expect([coordinator.isLooking(), wire.ended, coordinator.state.role]).toEqual([true, ['close'], { kind: 'standby' }])
  })

  test('is no follower when the log was cut only after the session had ended', () => {
    const coordinator = start()
    coordinator.onFound({ peer, epoch: 6, welcome, link: openWire() })
    coordinator.stop()
    coordinator.take({ kind: 'logJoined', session: 1, epoch: 6, complete: true })
    expect([coordinator.state.role, coordinator.state.disk.seen]).toEqual([{ kind: 'standby' }, 6])
  })

  test('tells that the record cannot be read', async () => {
    const coordinator = start()
    answer = () => ({ record: 'unreadable', because: 'spec.holderIdentity must be INSTANCE/INCARNATION, was "x"' })
    await pass(coordinator, timers.promise)
    expect(told.findLast((message) => message.kind === 'status')?.status.trouble).toBe('RecordUnreadable')
  })

  test('asks again when the API server could not be reached', async () => {
    const coordinator = start()
    answer = () => {
      throw new KubeError({ kind: 'unavailable', reason: 'refused' }, 'refused')
    }
    await pass(coordinator, timers.promise)
    answer = () => record()
    await pass(coordinator, timers.promise + timers.call)
    expect(writes.length).toBe(1)
  })
})

describe('a primary', () => {
  const follow = (coordinator: Coordinator, link: BeaconLink = openWire(), seen = 4) =>
    coordinator.onFollow({ instance: 'a', copy: 'a1', seen, link })

  test('welcomes a follower and tells its token before the follower can know it', async () => {
    const coordinator = await lead()
    told = []
    expect(follow(coordinator)).toEqual({ kind: 'welcome', session: 1, epoch: 5, token: 'token-3000', forcedEpoch: 0 })
    expect(kinds()).toEqual(['followerJoined'])
  })

  test('refuses one who has seen a higher epoch, and asks the record at once', async () => {
    const coordinator = await lead()
    expect(follow(coordinator, openWire(), 6)).toEqual({ kind: 'refused', because: 'Behind' })
    expect(coordinator.state.role).toMatchObject({ kind: 'primary', doubted: true })
  })

  test('takes a confirmation for nothing once its session has ended', async () => {
    const coordinator = await lead()
    follow(coordinator)
    follow(coordinator)
    coordinator.take({ kind: 'confirmed', session: 1, sequence: 3, complete: true })
    expect(coordinator.state.role).toMatchObject({ followers: [{ confirmed: 0, complete: false }] })
    coordinator.take({ kind: 'confirmed', session: 2, sequence: 3, complete: true })
    expect(coordinator.state.role).toMatchObject({ followers: [{ confirmed: 3, complete: true }] })
  })

  test('takes what is said of another reign for nothing', async () => {
    const coordinator = await lead()
    coordinator.take({ kind: 'appended', epoch: 4, last: 900 })
    coordinator.take({ kind: 'synced', epoch: 4, sequence: 900 })
    coordinator.take({ kind: 'switchover', epoch: 4 })
    expect(coordinator.state.role).toMatchObject({ kind: 'primary', last: 3, synced: 3 })
    expect(kinds()).toEqual(['storeSeen', 'lead', 'committed'])
  })

  test('knows of an entry that is fsynced before it was spoken of', async () => {
    const coordinator = await lead()
    coordinator.take({ kind: 'synced', epoch: 5, sequence: 5 })
    expect(coordinator.state.role).toMatchObject({ last: 5, synced: 5 })
  })

  test('tells how far is committed, how, and never less', async () => {
    const coordinator = await lead()
    told = []
    const wire = openWire()
    follow(coordinator, wire)
    coordinator.take({ kind: 'confirmed', session: 1, sequence: 2, complete: true })
    await pass(coordinator, 3_200)
    coordinator.onPromise(1, 1)
    coordinator.take({ kind: 'appended', epoch: 5, last: 4 })
    coordinator.take({ kind: 'synced', epoch: 5, sequence: 4 })
    expect(kinds()).toEqual(['followerJoined'])
    coordinator.take({ kind: 'confirmed', session: 1, sequence: 4, complete: true })
    expect(told.findLast(({ kind }) => kind === 'committed')).toEqual({ kind: 'committed', epoch: 5, sequence: 4, how: 'inSync' })
  })

  test('stops acting before anybody hears that it is deposed, and ends all sessions', async () => {
    const coordinator = await lead()
    const wire = openWire()
    follow(coordinator, wire)
    expect(main().mayAct(now)).toBe(true)
    told = []
    actedWhenTold = []
    coordinator.onHigherEpoch(6)
    answer = () => record({ version: '9', epoch: 6, inSync: [a] })
    await pass(coordinator, 3_500)
    await pass(coordinator, 3_900)
    expect([kinds(), wire.ended, actedWhenTold]).toEqual([['sessionEnded', 'stepDown'], ['end'], [false, false]])
    expect(announced[0]?.signal.aborted).toBe(true)
  })

  test('sends no beacon while the main loop does not move', async () => {
    const coordinator = await lead()
    const wire = openWire()
    follow(coordinator, wire)
    main().moved(3_000)
    now = 3_000 + timers.stall
    coordinator.tick()
    expect(wire.sent).toEqual([])
    main().moved(now)
    coordinator.tick()
    expect(wire.sent).toMatchObject([{ kind: 'beacon', epoch: 5 }])
  })
})
