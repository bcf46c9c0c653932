/** What an SMTP server said (RFC 5321 section 4.2, enhanced codes RFC 3463), or what we say for it when it could not. */
export type SmtpReply = {
  /** 200 to 599. */
  readonly code: number
  /** `4.2.1`; absent when the server gave none. */
  readonly enhanced?: string
  /** Text of all lines, joined with one space, without codes; the first 1,000 characters of what a server said. */
  readonly text: string
}

export const formatReply = (reply: SmtpReply): string => `${reply.code}${reply.enhanced ? ` ${reply.enhanced}` : ''} ${reply.text}`
