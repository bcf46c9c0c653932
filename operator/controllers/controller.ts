/** THE LOOP, by interface: what a reconcile function is and what it asks of the loop. */

/** Names one object of the kind that a controller is responsible for. */
export type ObjectKey = { readonly namespace: string; readonly name: string }

/** never: wake me when something changes. after: and at the latest then, in milliseconds. */
export type Requeue = 'never' | { readonly after: number }

/**
 * Brings the world nearer to what one object wants: read, plan, apply, report. Idempotent. A throw means "not done": it is counted, logged and
 * tried again with growing delays. The signal aborts when the operator stops or the time for one reconcile is over.
 */
export type Reconcile = (key: ObjectKey, signal: AbortSignal) => Promise<Requeue>
