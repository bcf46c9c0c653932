/** The envelope of a transaction (RFC 5321 section 2.3.1): who it is from, who it is for, and what the client asked of it. */

/** A domain in lower case and ASCII (A-labels): the form that is compared, looked up and counted by. */
export type Domain = string & { readonly __brand: 'Domain' }

export type Recipient = {
  /** The forward-path as the client wrote it, without angle brackets; its domain in A-labels. */
  readonly address: string
  readonly domain: Domain
  /** RFC 3461: when the sender wants to hear of this recipient. Absent means FAILURE. */
  readonly notify?: readonly ('NEVER' | 'SUCCESS' | 'FAILURE' | 'DELAY')[]
  /** RFC 3461 ORCPT, decoded: `rfc822;user@example.com`. */
  readonly originalRecipient?: string
}

export type Envelope = {
  /** The reverse-path; '' is the null sender of a report, which never causes another report. */
  readonly sender: string
  readonly recipients: readonly Recipient[]
  readonly body: '7BIT' | '8BITMIME'
  readonly smtpUtf8: boolean
  /** RFC 3461 RET and ENVID. */
  readonly returnContent?: 'FULL' | 'HDRS'
  readonly envelopeId?: string
}
