import { domainToASCII } from 'node:url'
import { buildReport, judgeReport, type ReportedRecipient } from '../bounces/dsn.ts'
import type { DeliveryOutcome } from '../domain/delivery-outcome.ts'
import type { Domain, Recipient } from '../domain/envelope.ts'
import { formatReply } from '../domain/smtp-reply.ts'
import { planRetry } from '../queue/retry-schedule.ts'
import type { Delivery, DeliveryResult, Millis, NewMessage, StoredMessage } from '../queue/queue-store.ts'
import type { RecipientEnd } from './attempt.ts'
import type { DeliverySettings } from './ports.ts'

/**
 * What an attempt came to → what is recorded, and the report that is stored with it. Pure. Every recipient that is given up is told of
 * in the same log entry that gives it up, or its sender did not want to know.
 */

export type Conclusion = {
  readonly result: DeliveryResult
  readonly report?: NewMessage
  /** As recorded: a deferral that came too late has become a bounce. */
  readonly ends: readonly ConcludedRecipient[]
}

export type ConcludedRecipient = RecipientEnd & { readonly index: number }

export type ConclusionInput = {
  readonly delivery: Delivery
  /** undefined: its envelope is damaged, so that nobody knows whom to tell. */
  readonly message: StoredMessage | undefined
  readonly ends: ReadonlyMap<number, RecipientEnd>
  readonly settings: DeliverySettings
  /** Our name in reports. */
  readonly reportingHost: string
  readonly now: Millis
  readonly random: () => number
  /** Read only when there is something to report. undefined: it is damaged. */
  readonly readContent: () => Buffer | undefined
}

/** RFC 3461 section 6.1: a sender who asked for DELAY hears when a message is this old, once. */
const LATE_AFTER_SECONDS = 4 * 3600

export function concludeAttempt(input: ConclusionInput): Conclusion {
  const { delivery, settings, now } = input
  const retry = planRetry({
    ladder: settings.queue,
    attempts: delivery.attempts + 1,
    acceptedAt: delivery.acceptedAt,
    now,
    jitter: input.random(),
  })
  const ends = [...input.ends]
    .toSorted(([a], [b]) => a - b)
    .map(([index, end]) => ({ ...end, index, outcome: retry.kind === 'expired' ? expire(end.outcome, settings) : end.outcome }))
  const isDeferred = ends.some(({ outcome }) => outcome.kind === 'deferred')
  const report = planReport(input, ends)
  return {
    result: {
      queueId: delivery.queueId,
      destination: delivery.destination,
      at: now,
      outcomes: ends.map(({ index, outcome }) => ({ index, outcome })),
      ...(isDeferred && retry.kind === 'retry' ? { nextAttemptAt: retry.at } : {}),
    },
    ...(report === undefined ? {} : { report }),
    ends,
  }
}

/** RFC 3463 X.4.7. The code stays the server's, and its words go along: they are the reason. */
export function expire(outcome: DeliveryOutcome, settings: DeliverySettings): DeliveryOutcome {
  if (outcome.kind !== 'deferred') return outcome
  const text = `not delivered within ${settings.queue.maxAgeSeconds} seconds; the last attempt ended with: ${formatReply(outcome.reply)}`
  return { kind: 'bounced', because: 'Expired', reply: { code: outcome.reply.code, enhanced: '4.4.7', text } }
}

function planReport(input: ConclusionInput, ends: readonly ConcludedRecipient[]): NewMessage | undefined {
  const { message, now, reportingHost } = input
  if (message === undefined) return undefined
  const { envelope } = message
  const recipients = ends.flatMap((end) => describe(input, message, end) ?? [])
  if (recipients.length === 0 || envelope.sender === '') return undefined
  const content = input.readContent()
  if (judgeReport(envelope.sender, content).kind === 'silent') return undefined
  const report = buildReport({
    reportingHost,
    sender: envelope.sender,
    recipients,
    original: {
      ...(content === undefined ? {} : { content }),
      acceptedAt: message.acceptedAt,
      ...(envelope.envelopeId === undefined ? {} : { envelopeId: envelope.envelopeId }),
      ...(envelope.returnContent === undefined ? {} : { returnContent: envelope.returnContent }),
    },
    at: now,
    boundary: `report-${token(input.random)}`,
    messageId: `${message.queueId}.${token(input.random)}@${reportingHost}`,
  })
  const recipient = { address: envelope.sender, domain: domainOf(envelope.sender), notify: ['NEVER'] as const }
  return {
    envelope: { sender: '', recipients: [recipient], body: report.body, smtpUtf8: report.smtpUtf8 },
    content: report.content,
    acceptedAt: now,
  }
}

/** What the report says of a recipient; undefined when it says nothing (RFC 3461 section 4.1: no NOTIFY is FAILURE). */
function describe(input: ConclusionInput, message: StoredMessage, end: ConcludedRecipient): ReportedRecipient | undefined {
  const recipient = message.envelope.recipients[end.index]
  if (recipient === undefined) throw new RangeError(`${message.queueId} must have a recipient ${end.index}, has not`)
  const { outcome, host } = end
  const action = planAction(input, end, recipient.notify ?? ['FAILURE'])
  if (action === undefined) return undefined
  return {
    address: recipient.address,
    action,
    status: outcome.reply.enhanced ?? VAGUE_STATUS[action],
    reply: outcome.reply,
    ...(recipient.originalRecipient === undefined ? {} : { originalRecipient: recipient.originalRecipient }),
    ...(host === undefined ? {} : { remoteHost: host.name }),
    ...(action === 'delayed' ? { willRetryUntil: input.delivery.acceptedAt + input.settings.queue.maxAgeSeconds * 1000 } : {}),
  }
}

/** RFC 3463 X.0.0: all that is known is the class. */
const VAGUE_STATUS = { failed: '5.0.0', delayed: '4.0.0', relayed: '2.0.0' } as const

function planAction(
  input: ConclusionInput,
  end: ConcludedRecipient,
  wanted: NonNullable<Recipient['notify']>,
): ReportedRecipient['action'] | undefined {
  switch (end.outcome.kind) {
    case 'bounced':
      return wanted.includes('FAILURE') ? 'failed' : undefined
    case 'delivered':
      return wanted.includes('SUCCESS') && !end.reports ? 'relayed' : undefined
    case 'deferred':
      return wanted.includes('DELAY') && isFirstLateAttempt(input) ? 'delayed' : undefined
  }
}

/** By the ladder, not by the clock, so that it is true of exactly one attempt without a mark in the queue. */
function isFirstLateAttempt({ delivery, settings }: ConclusionInput): boolean {
  const { retrySeconds } = settings.queue
  const waits = (attempts: number): number =>
    Array.from({ length: attempts }, (_, at) => retrySeconds[Math.min(at, retrySeconds.length - 1)] ?? 0).reduce(
      (sum, wait) => sum + wait,
      0,
    )
  return waits(delivery.attempts) >= LATE_AFTER_SECONDS && (delivery.attempts === 0 || waits(delivery.attempts - 1) < LATE_AFTER_SECONDS)
}

/** Submission has looked at the reverse-path; a domain it could not name in ASCII stays as it is and bounces at the resolver. */
function domainOf(address: string): Domain {
  const domain = address.slice(address.lastIndexOf('@') + 1).toLowerCase()
  return (domainToASCII(domain) || domain) as Domain
}

/** 26 letters and digits from three draws. */
const token = (random: () => number): string =>
  [random(), random(), random()].map((draw) => Math.floor(draw * 2 ** 44).toString(36)).join('')
