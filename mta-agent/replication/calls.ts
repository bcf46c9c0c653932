import type { AgentState, Step } from './agent-state.ts'
import { type RecordWrite, writeSent } from './record.ts'
import type { Millis } from './timers.ts'

/**
 * One call to the API server at a time, each with a deadline. So a GET is always sent after everything before it was answered or given up,
 * which is what makes its answer newer than all that is known, and lets it settle writes (R3).
 */

/** A call that has not outlived its deadline: nothing else is sent meanwhile. */
export function isCalling(state: AgentState, at: Millis): boolean {
  const { open } = state.calls
  return open !== undefined && at - open.at < state.timers.call
}

/** Reads are spaced by the deadline of a call, so a record that cannot be changed is not asked for in a loop. */
export const mayReadAgain = (state: AgentState, at: Millis): boolean =>
  !isCalling(state, at) && at - state.calls.lastReadAt >= state.timers.call

export function sendRead(state: AgentState, at: Millis): Step {
  const id = state.calls.next
  return {
    state: { ...state, calls: { next: id + 1, open: { id, kind: 'read', at }, lastReadAt: at } },
    effects: [{ kind: 'read', call: id }],
  }
}

/** Only from the answer to a GET, and on the version that this answer showed. */
export function sendWrite(state: AgentState, at: Millis, write: RecordWrite): Step {
  const id = state.calls.next
  return {
    state: {
      ...state,
      view: writeSent(state.view, write),
      calls: { ...state.calls, next: id + 1, open: { id, kind: 'write', at } },
    },
    effects: [{ kind: 'write', call: id, base: write.base, content: write.content }],
  }
}

/** Its answer will be nothing. */
export function giveUp(state: AgentState): AgentState {
  const { open: _, ...calls } = state.calls
  return { ...state, calls }
}

/** Undefined for a call that was given up. */
export function endCall(state: AgentState, call: number): AgentState | undefined {
  const { open, ...calls } = state.calls
  return open?.id === call ? { ...state, calls } : undefined
}
