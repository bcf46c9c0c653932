import { sha256, splitContent } from './content.ts'

/** The messages of the load client: made from their number alone, so that two runs send the same. Pure. */
export type LoadMessage = {
  readonly messageId: string
  readonly sender: string
  readonly recipients: readonly string[]
  readonly content: Buffer
  readonly bodyHash: string
}

export type MessageMix = {
  /** Becomes part of every Message-ID: two runs in one comparison need two names. */
  readonly run: string
  readonly sender: string
  /** Taken in turn. A domain written as `local@domain` keeps its local part. */
  readonly domains: readonly string[]
  readonly recipientsPerMessage: number
  /** Size of the whole message in bytes, roughly; taken in turn, each as often as its weight says. */
  readonly sizes: readonly { readonly bytes: number; readonly weight: number }[]
}

const LINE_LENGTH = 76
const LETTERS = 'abcdefghijklmnopqrstuvwxyz    ABCDEFGHIJ0123456789.,'

/** Message `number`, from 0. Every tenth line of its body begins with a dot, so that dot-stuffing is tried on every message. */
export function buildLoadMessage(mix: MessageMix, number: number): LoadMessage {
  const messageId = `<${mix.run}.${number}@load.example>`
  const recipients = Array.from({ length: mix.recipientsPerMessage }, (_, index) =>
    recipientOf(mix, number * mix.recipientsPerMessage + index),
  )
  const header = [
    `Message-ID: ${messageId}`,
    `From: <${mix.sender}>`,
    `To: ${recipients.map((recipient) => `<${recipient}>`).join(',\r\n ')}`,
    `Subject: message ${number} of ${mix.run}`,
    'Date: Thu, 01 Jan 2026 00:00:00 +0000',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    '',
  ].join('\r\n')
  const content = Buffer.from(header + textOf(number, sizeOf(mix, number) - header.length), 'latin1')
  return { messageId, sender: mix.sender, recipients, content, bodyHash: sha256(splitContent(content).body) }
}

function recipientOf(mix: MessageMix, index: number): string {
  const domain = mix.domains[index % mix.domains.length]
  if (domain === undefined) throw new RangeError('at least one recipient domain is needed, got none')
  return domain.includes('@') ? domain : `r${index}@${domain}`
}

function sizeOf(mix: MessageMix, number: number): number {
  const total = mix.sizes.reduce((sum, { weight }) => sum + weight, 0)
  let place = number % Math.max(1, total)
  for (const { bytes, weight } of mix.sizes) {
    if (place < weight) return bytes
    place -= weight
  }
  throw new RangeError('at least one message size with a weight of 1 or more is needed')
}

function textOf(seed: number, bytes: number): string {
  const lines: string[] = [`This is message ${seed}.`]
  // xorshift32: cheap, and the same everywhere.
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1
  for (let left = bytes - lines[0]!.length - 2; left > 2; left -= LINE_LENGTH + 2) {
    let line = lines.length % 10 === 0 ? '.' : ''
    while (line.length < Math.min(LINE_LENGTH, left - 2)) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      line += LETTERS[(state >>> 0) % LETTERS.length]
    }
    lines.push(line)
  }
  return `${lines.join('\r\n')}\r\n`
}
