/** Sums over the queue. They are kept as it changes and stored with every change, so that nobody ever counts a million messages to know them. */

export type TotalsChange = {
  readonly messages: number
  readonly recipients: number
  readonly deferred: number
  readonly contentBytes: number
}

export const NO_CHANGE: TotalsChange = { messages: 0, recipients: 0, deferred: 0, contentBytes: 0 }

export const plus = (a: TotalsChange, b: TotalsChange): TotalsChange => ({
  messages: a.messages + b.messages,
  recipients: a.recipients + b.recipients,
  deferred: a.deferred + b.deferred,
  contentBytes: a.contentBytes + b.contentBytes,
})
