import { edit, type Mutation, primary, standby } from './mutation.ts'

/** What ../README.md asks for besides: the rules of section 9 that the model's list leaves out, and what the model does not have. */
export const OF_THE_RULES = {
  AnyAnswerCounts: {
    wrong: 'an answer to an unknown, old beacon gives a right as the newest does (R4)',
    edits: [
      edit('rights.ts', 'const beacon = rights.sent.find((one) => one.number === number)', 'const beacon = rights.sent.at(-1)'),
      edit('rights.ts', '|| (before && before.number >= number)', ''),
    ],
  },
  AnswerSettles: {
    wrong: 'an answer to a write, or its deadline, settles it (R3)',
    edits: [
      edit(
        'role.ts',
        "state.role.kind === 'primary' && wasWrite ? sendRead(state, event.at) : stay(state)\n",
        'stay({ ...state, view: { ...state.view, unsettled: [] } })\n',
      ),
    ],
  },
  ConflictRetried: {
    wrong: 'a claim that met a conflict is written again on what was read since (R5)',
    edits: [
      standby(
        'if (!isWon(state, role, event.record)) return',
        `if (!isWon(state, role, event.record) && !sameHolder(event.record.holder, state.self)) {
           const newer = { base: event.record.version, content: { ...role.claim.content, epoch: event.record.epoch + 1 } }
           return sendWrite({ ...state, role: { ...role, claim: newer, sentAt: event.at } }, event.at, newer)
         }
         if (!isWon(state, role, event.record)) return`,
      ),
    ],
  },
  CountedForNothing: {
    wrong: 'one that is about to be added does not count before it is written (R7)',
    edits: [primary('effectiveSet(state.view, countedOf(role)).filter', 'effectiveSet(state.view, countedOf(role).slice(0, 0)).filter')],
  },
  ClaimedWhileJoining: {
    wrong: 'a standby claims while the cut of its log is on its way to the disk',
    edits: [standby('if (role.joining !== undefined) return stay(state)', '')],
  },
  SeenTooLate: {
    wrong: 'promises to an epoch are given before `seen` is on the disk (R4)',
    profile: 'stale',
    edits: [edit('simulation/volume.ts', '    this.seen = Math.max(this.seen, epoch)\n', '')],
  },
  AddedIncomplete: {
    wrong: 'a copy whose full copy is under way is added (section 7)',
    edits: [
      primary('|| follower.counted || !follower.complete ||', '|| follower.counted ||'),
      primary('follower.confirmed >= counted.last && answered', 'answered'),
    ],
  },
  OverIsNoPlan: {
    wrong: 'addresses are attached without a wait whoever said that it was over',
    edits: [
      standby(
        'const planned = state.pledge.heardOver === record.epoch',
        'const planned = state.pledge.heardOver === record.epoch || record.epoch > 0',
      ),
    ],
  },
  ForcedWithoutWait: {
    wrong: 'a forced promotion attaches addresses at once (R9)',
    profile: 'handOvers',
    edits: [standby('event.at + state.timers.promise + state.timers.attachWait', 'event.at')],
  },
  ForcedWaitForgotten: {
    wrong: 'a forced copy that restarts goes on without the wait that force asks for (R9)',
    profile: 'hastyForces',
    edits: [standby('? state.timers.promise : 0', '? 0 : 0')],
  },
  NeverLooksAgain: {
    wrong: 'a primary reads the record only when it needs something',
    profile: 'restarts',
    edits: [primary('export const LOOK_EVERY: Millis = 60_000', 'export const LOOK_EVERY: Millis = 60_000_000')],
  },
  AddressesKept: {
    wrong: 'the role is given up and "over" said while the addresses are still held (R6)',
    edits: [
      edit('simulation/process.ts', "      case 'removeAddresses':\n        node.dropAddress()\n", "      case 'removeAddresses':\n"),
      edit('simulation/process.ts', "      case 'stepDown':\n        node.dropAddress()\n", "      case 'stepDown':\n"),
      edit('simulation/process.ts', 'else if (this.node.holdsAddress) this.node.dropAddress()', ''),
    ],
  },
  StartsAfterTheEnd: {
    wrong: 'acting goes on while the right has ended, until somebody else is read of (R1)',
    edits: [
      edit(
        'role.ts',
        'return actsUntil(primary.untilOf(state, state.role), state.timers)',
        'return actsUntil(primary.untilOf(state, state.role), state.timers) + state.timers.promise',
      ),
    ],
  },
  RightsOfOldReign: {
    wrong: 'one who reads that another leads goes on (R5)',
    edits: [
      primary(
        'if (!sameHolder(record.holder, state.self) || record.epoch !== role.epoch) return deposed',
        'if (record.epoch < role.epoch) return deposed',
      ),
    ],
  },
  DeliversUncommitted: {
    wrong: 'what is not confirmed by all is delivered (R2)',
    edits: [edit('simulation/mail.ts', 'const upTo = committed(state)\n    for', 'const upTo = volume.log.length\n    for')],
  },
  StrictAlone: {
    wrong: 'a set of one acknowledges under Strict (R2)',
    edits: [
      edit('role.ts', "return state.durability === 'Strict' ? 'refuse' : 'alone'", "return 'alone'"),
      edit(
        'role.ts',
        "state.durability === 'Strict' && primary.othersOf(state, state.role).length === 0 ?",
        "state.durability === 'Strict' && primary.othersOf(state, state.role).length > 9 ?",
      ),
    ],
  },
  CutForgetsHandOver: {
    wrong: 'a cut log still says that it took back what was cut off (section 7)',
    profile: 'copies',
    edits: [edit('../domain/epoch-table.ts', 'takenBack: Math.min(row.takenBack, first - 1) }', 'takenBack: row.takenBack + 0 * first }')],
  },
  OwnAsideKept: {
    wrong: 'a primary does not take back what it has set aside itself (R8)',
    profile: 'copies',
    edits: [edit('simulation/process.ts', '    this.#primary.takeOwnBack()\n', '')],
  },
  AsideOfUnsynced: {
    wrong: 'what was set aside is let go when the own log has it, durable or not (R8)',
    profile: 'copies',
    edits: [
      edit(
        'simulation/volume.ts',
        "    if (entry.kind === 'message') this.live.set(entry.message, entry)\n    else this.live.delete(entry.message)\n  }\n\n  /** fsync",
        "    this.aside = keptAside(this.aside, this.table)\n    if (entry.kind === 'message') this.live.set(entry.message, entry)\n    else this.live.delete(entry.message)\n  }\n\n  /** fsync",
      ),
    ],
  },
  ForcedStaysIncomplete: {
    wrong: 'a forced copy that was incomplete stays so',
    profile: 'copies',
    edits: [
      standby('seen: event.epoch, complete: true }', 'seen: event.epoch }'),
      edit('simulation/process.ts', '            volume.complete = true\n', ''),
    ],
  },
  IncompleteInSetNotForced: {
    wrong: 'an incomplete copy that the set names cannot be forced',
    profile: 'copies',
    edits: [
      standby('includes(record.inSync, copyOf(state)) && state.disk.complete) return', 'includes(record.inSync, copyOf(state))) return'),
    ],
  },
  LeavingForEver: {
    wrong: 'one that left and promises again is still taken for leaving (R7)',
    edits: [primary('const leaving = role.leaving.filter((one) => keyOf(one) !== keyOf(event.copy))', 'const { leaving } = role')],
  },
  JoiningForEver: {
    wrong: 'one that could not join is never free again',
    profile: 'leaves',
    edits: [standby('|| state.role.joining !== event.epoch) return stay(state)', '|| event.epoch > 0) return stay(state)')],
  },
  OldReadsCount: {
    wrong: 'an answer to a GET sent before it began to follow counts',
    edits: [standby('...giveUp(state),', '...state,'), standby('import { giveUp, isCalling,', 'import { isCalling,')],
  },
  StallIgnored: {
    wrong: 'beacons are sent for a main loop or a disk that hangs',
    edits: [primary('|| event.stalledFor >= state.timers.stall) return', '|| event.stalledFor < 0) return')],
  },
} satisfies Record<string, Mutation>
