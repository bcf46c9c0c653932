import { edit, type Mutation, primary, standby } from './mutation.ts'

/** The list of ../model/README.md, under its names. Each must be caught, or the simulation is too weak to say anything. */
export const OF_THE_MODEL = {
  PromoteNotInSync: {
    wrong: 'a standby that is not in the set claims',
    edits: [standby('if (includes(event.record.inSync, copyOf(state)) && state.disk.complete', 'if (state.disk.complete')],
  },
  AckBeforeStandby: {
    wrong: '250 before the standbys confirmed',
    edits: [primary('Math.min(role.synced, ...confirmed)', 'Math.min(role.synced, ...confirmed.slice(0, 0))')],
  },
  ConfirmBeforeFsync: {
    wrong: 'a standby confirms what it has not fsynced',
    edits: [
      edit('simulation/standby-end.ts', "{ kind: 'confirm', sequence: volume.synced,", "{ kind: 'confirm', sequence: volume.log.length,"),
    ],
  },
  ShrinkAfter: {
    wrong: 'the smaller set counts before the write is known to have won',
    edits: [
      edit(
        'record.ts',
        'return setOf([...(view.known?.inSync ?? []), ...view.unsettled.flatMap((write) => write.content.inSync), ...counted])',
        `const sets = [view.known?.inSync ?? [], ...view.unsettled.map((write) => write.content.inSync)]
         return setOf([...sets.toSorted((a, b) => a.length - b.length)[0]!, ...counted])`,
      ),
    ],
  },
  DoubtIgnored: {
    wrong: 'an undecided write of one’s own is ignored',
    edits: [edit('record.ts', '...view.unsettled.flatMap((write) => write.content.inSync), ', '')],
  },
  GrantForgotten: {
    wrong: 'a restarted standby does not wait',
    edits: [edit('role.ts', 'pledge: pledge(undefined, at, start.timers)', 'pledge: { boundUntil: at, heardOver: 0 }')],
  },
  PromiseNotAwaited: {
    wrong: 'a standby claims while it is bound',
    edits: [
      standby('(quick || !isBound(state.pledge, event.at))', 'event.at > 0'),
      standby('role.following === undefined || role.force !== undefined || !isBound(state.pledge, at)', 'at > 0'),
    ],
  },
  GrantWhileClaiming: {
    wrong: 'it promises while a claim of its own is undecided',
    edits: [
      standby(
        "effects: [{ kind: 'leave' }, ...sent.effects] }\n}\n\nexport function tickClaiming",
        'effects: sent.effects }\n}\n\nexport function tickClaiming',
      ),
      standby("state.role.kind !== 'standby' || state.role.following !== event.epoch", "state.role.kind === 'primary'"),
    ],
  },
  AnyGrant: {
    wrong: 'with two standbys one promise is taken for enough',
    edits: [
      edit(
        'rights.ts',
        'return Math.min(Number.POSITIVE_INFINITY, ...ends)',
        'return ends.length > 0 ? Math.max(...ends) : Number.POSITIVE_INFINITY',
      ),
    ],
  },
  NoCas: {
    wrong: 'the Lease is written without condition',
    edits: [edit('simulation/api.ts', 'if (this.#lease.metadata.resourceVersion !== base) return', 'if (base.length === 0) return')],
  },
  EpochReused: {
    wrong: 'a claim keeps the epoch',
    edits: [standby('epoch: record.epoch + 1,\n    inSync: claimedSet', 'epoch: record.epoch,\n    inSync: claimedSet')],
  },
  IdentityWithoutIncarnation: {
    wrong: 'a restarted container takes itself for the holder',
    edits: [
      standby(
        'const quick = isHolderAgain',
        `if (event.record.holder.instance === state.self.instance && state.disk.seen <= event.record.epoch) {
           const { epoch } = event.record
           const role = leads({ epoch, at: event.at, attachFrom: event.at })
           return { state: { ...state, self: { ...state.self, ...event.record.holder }, role }, effects: [{ kind: 'leave' }, { kind: 'lead', epoch }] }
         }
         const quick = isHolderAgain`,
      ),
      edit('simulation/process.ts', 'scene.truth.leads(effect.epoch, this.incarnation, volume)', ''),
    ],
  },
  SetByName: {
    wrong: 'the set is matched by instance name, not by copy id',
    profile: 'disks',
    edits: [
      standby(
        'if (includes(event.record.inSync, copyOf(state)) && state',
        'if (event.record.inSync.some((one) => one.instance === state.self.instance) && state',
      ),
    ],
  },
  AddBeforeComplete: {
    wrong: 'a copy enters the set before it has everything',
    profile: 'joins',
    edits: [primary('follower.confirmed >= counted.last && answered', 'answered')],
  },
  OldEpochAccepted: {
    wrong: 'a standby follows a primary of a lower epoch than it has seen',
    profile: 'stale',
    edits: [
      standby(
        "state.role.kind !== 'standby' || event.epoch < state.disk.seen) return { state, effects: [{ kind: 'leave' }] }",
        "state.role.kind !== 'standby') return { state, effects: [{ kind: 'leave' }] }",
      ),
      edit('role.ts', "return state.role.epoch >= seen ? 'welcome' : 'Behind'", "return seen >= 0 ? 'welcome' : 'Behind'"),
    ],
  },
  RenounceFirst: {
    wrong: 'the primary says "over" and goes on for a moment',
    edits: [
      primary(
        "switchover: { stage: 'finishing', until: at + FINISH_WITHIN } }, effects: [] }",
        "switchover: { stage: 'finishing', until: at + FINISH_WITHIN } }, effects: [{ kind: 'sayOver', epoch: role.epoch, last: role.last }] }",
      ),
    ],
  },
  RenounceOfAnyEpoch: {
    wrong: 'an old "my reign is over" voids a newer promise',
    profile: 'lateOver',
    edits: [standby('|| event.epoch !== state.disk.seen || known > event.epoch) return', '|| known < 0) return')],
  },
  TailKept: {
    wrong: 'a returning agent keeps what its new primary does not have',
    edits: [
      edit(
        'follow.ts',
        'return shared ? Math.min(shared.mine, shared.theirs) : 0',
        'return Math.max(0, ...mine.map((row) => row.last), ...(shared ? [] : []))',
      ),
    ],
  },
  TailDroppedAlways: {
    wrong: 'after a forced promotion what was acknowledged alone is dropped',
    profile: 'copies',
    edits: [edit('follow.ts', 'message.origin.epoch < forcedEpoch)', 'message.origin.epoch < forcedEpoch * 0)')],
  },
  TailByItsEpoch: {
    wrong: 'what to set aside is judged by the entry’s epoch, not by that of its first acceptance',
    profile: 'handOvers',
    edits: [edit('follow.ts', 'message.origin.epoch < forcedEpoch)', '(message as unknown as Origin).epoch < forcedEpoch)')],
  },
  AsideDroppedEarly: {
    wrong: 'what was set aside is let go before it is durable in one’s own log',
    profile: 'copies',
    edits: [
      edit(
        'simulation/standby-end.ts',
        "session.connection?.toPrimary({ kind: 'offer', offer })",
        "session.connection?.toPrimary({ kind: 'offer', offer }); volume.aside = []",
      ),
    ],
  },
  TakenTwice: {
    wrong: 'hand-over goes by content, not by queue id',
    profile: 'handOvers',
    edits: [
      edit(
        'follow.ts',
        'if (offer.from !== haveOf(table, offer.epoch) + 1)',
        'if (offer.from !== haveOf(table, offer.epoch) + 1 && offer.from !== 1)',
      ),
      edit('follow.ts', 'const have = haveOf(theirs, epoch)', 'const have = haveOf(theirs, epoch) * 0'),
      edit(
        'simulation/standby-end.ts',
        'if (offer.from !== haveOf(session.theirs, offer.epoch) + 1)',
        'if (haveOf(session.theirs, offer.epoch) < 0)',
      ),
    ],
  },
  WonByName: {
    wrong: 'a claim is taken for won when the record names this process, whatever the epoch',
    profile: 'lateSets',
    edits: [
      standby(
        'sameHolder(record.holder, state.self) && record.epoch === role.claim.content.epoch',
        'sameHolder(record.holder, state.self) && role.claim.content.epoch > 0',
      ),
      standby('|| event.epoch !== state.role.claim.content.epoch) return', '|| event.epoch < 0) return'),
    ],
  },
  RestartUnchecked: {
    wrong: 'a restarted holder claims at once without comparing the epoch that its disk has seen',
    profile: 'restarts',
    edits: [standby(' && state.disk.seen === record.epoch\n', '\n')],
  },
  LeavingFreesThePromise: {
    wrong: 'one that leaves takes what it promised for void',
    profile: 'leaves',
    edits: [
      edit(
        'simulation/standby-end.ts',
        "leaves: its disk is full')\n",
        "leaves: its disk is full')\n    Object.assign(this.#host, { state: { ...this.#host.state, pledge: { boundUntil: 0, heardOver: 0 } } })\n",
      ),
    ],
  },
  LeavingNotNeeded: {
    wrong: 'the primary does without one that leaves before the record does (R3)',
    profile: 'leaves',
    edits: [
      primary(
        'countedOf(role)).filter((one) => keyOf(one) !== keyOf({ instance, copy }))',
        'countedOf(role)).filter((one) => keyOf(one) !== keyOf({ instance, copy }) && !includes(role.leaving, one))',
      ),
    ],
  },
  NoDriftMargin: {
    wrong: 'the right is too long for the drift of the clocks',
    edits: [
      edit('timers.ts', 'right: (t.promise * (1 - DRIFT)) / (1 + DRIFT) }', 'right: t.promise }'),
      edit('simulation/run.ts', '  right: 2_250,', '  right: 2_500,'),
    ],
  },
  CountedFromTheAnswer: {
    wrong: 'a right is counted from the answer instead of the sending',
    profile: 'corners',
    edits: [
      primary(
        'rights: promiseReceived(role.rights, event.copy, event.number) }',
        'rights: promiseReceived({ ...role.rights, sent: role.rights.sent.map((one) => ({ ...one, at: event.at })) }, event.copy, event.number) }',
      ),
    ],
  },
  AddedOnOldPromise: {
    wrong: 'a standby enters the record on a promise older than the lifetimes given while the primary was alone',
    profile: 'adds',
    edits: [primary('answered !== undefined && answered.number >= counted.beacon', 'answered !== undefined')],
  },
  NoKernelFence: {
    wrong: 'addresses have no lifetime',
    edits: [edit('simulation/process.ts', 'this.node.giveAddress(lifetime)', 'this.node.giveAddress(lifetime + 1e9)')],
  },
  NoKernelSlack: {
    wrong: 'a new owner does not wait for the kernel’s lateness',
    edits: [standby('planned ? event.at : event.at + state.timers.attachWait', 'planned ? event.at : event.at')],
  },
  WholeLifetime: {
    wrong: 'the lifetime is not shortened by what has passed of the right',
    profile: 'corners',
    edits: [edit('rights.ts', 'Math.min(until - at, timers.right)', 'Math.min(until - at > 0 ? timers.right : 0, timers.right)')],
  },
  RefreshTorn: {
    wrong: 'a pause between computing the lifetime and giving it (a residual risk, ../README.md section 10)',
    profile: 'hasty',
    edits: [
      edit(
        'simulation/process.ts',
        "        this.#moment('refreshing')\n",
        "        const computed = addressLifetime(this.state, this.node.clock) * 1_000\n        this.#moment('refreshing')\n",
      ),
      edit(
        'simulation/process.ts',
        "this.run('holder', () => this.#refreshAddress())",
        "this.run('holder', () => computed > 0 && this.node.giveAddress(computed))",
      ),
    ],
  },
} satisfies Record<string, Mutation>
