/**
 * What arrived at a provider, written down so that it can be compared, message by message, with what was accepted at submission.
 * `arrived` means that our 250 to the final dot was handed to the network; nothing else counts as arrived.
 */
export type Outcome = 'arrived' | 'deferredAfterDot' | 'refusedAfterDot' | 'hungAfterDot' | 'closedAfterDot'

export type Arrival = {
  readonly provider: string
  /** When the final dot was read, ISO 8601 with milliseconds. */
  readonly at: string
  readonly outcome: Outcome
  /** What was said to the final dot; empty where nothing was. */
  readonly reply: string
  /** Number of the session at this provider, and of the message within it, from 1. */
  readonly session: number
  readonly transaction: number
  readonly sourceAddress: string
  /** The address of ours that was dialled. */
  readonly host: string
  readonly hello: string
  readonly tls: { readonly version: string; readonly cipher: string } | null
  /** Without angle brackets; empty for the null sender. */
  readonly sender: string
  /** Parameters of MAIL as they were said, such as `SIZE=2048` or `BODY=8BITMIME`. */
  readonly senderParameters: readonly string[]
  /** The recipients that were accepted. */
  readonly recipients: readonly { readonly address: string; readonly parameters: readonly string[] }[]
  /** The recipients of the same transaction that were not. */
  readonly refusedRecipients: readonly string[]
  /** As it stands in the header, with angle brackets; null where there is none. */
  readonly messageId: string | null
  /** Bytes of the message as sent, after dot-unstuffing, without the final dot. */
  readonly size: number
  /** SHA-256 of the whole message as sent, after dot-unstuffing, in hex. */
  readonly contentHash: string
  /** SHA-256 of what follows the first empty line: agents prepend header fields, but must not touch this. In hex. */
  readonly bodyHash: string
}

/**
 * A transaction that somebody began: MAIL was said, whatever came of it. What arrived tells what ended well; this tells who still sends. At Postfix it
 * is what Postfix began with the recorder behind it, later.
 */
export type Beginning = Pick<Arrival, 'provider' | 'session' | 'sourceAddress'> & {
  /** When MAIL was read, ISO 8601 with milliseconds. */
  readonly at: string
}
