import { createConnection, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/**
 * Plays an SMTP transcript against a listener. A transcript is a promise that can be read aloud:
 *
 *     # what is promised
 *     option: value                     how the listener is set up, before the first line of dialogue
 *     C: text                           the client sends text and CRLF; lines without a reply between them are sent in one write
 *     C! text                           the client sends exactly this; \r \n \0 \t \\ and \xNN are written as escapes
 *     S: text                           the server sends this line; … stands for anything
 *     S: 250-…                          with a hyphen: at least one line of this form, and all that follow
 *     TLS                               the client starts TLS
 *     CLOSED                            the server has closed the connection
 *     STORED: sender -> recipient, …    the next message in the queue has this envelope
 *     CONTENT: text                     its content has this text in it, escapes as above
 *     ENVELOPE: json                    its envelope has these fields
 *     NOTHING STORED                    no further message is in the queue
 *     DO: word                          what the test itself provides: drain, hold, fill the disk …
 */
export type Step = { readonly line: number; readonly word: string; readonly text: string }
export type Transcript = { readonly promise: string; readonly options: Readonly<Record<string, string>>; readonly steps: readonly Step[] }

const STEP = /^(?<word>C:|C!|S:|TLS|CLOSED|STORED:|CONTENT:|ENVELOPE:|NOTHING STORED|DO:)(?: (?<text>.*))?$/

export function parseTranscript(source: string): Transcript {
  const lines = source.split('\n')
  const promise = lines.filter((line) => line.startsWith('# ')).map((line) => line.slice(2))
  const options: Record<string, string> = {}
  const steps: Step[] = []
  lines.forEach((text, index) => {
    if (text.trim() === '' || text.startsWith('#')) return
    const groups = STEP.exec(text)?.groups
    const option = steps.length === 0 ? /^(?<key>[a-z ]+): (?<value>.*)$/.exec(text)?.groups : undefined
    if (groups) steps.push({ line: index + 1, word: groups['word']!.replace(/[:]$/, ''), text: groups['text'] ?? '' })
    else if (option) options[option['key']!] = option['value']!
    else throw new Error(`line ${index + 1} is no step of a transcript: ${text}`)
  })
  return { promise: promise.join(' '), options, steps }
}

export const unescape = (text: string): string =>
  text.replace(/\\(?:x(?<hex>[0-9a-f]{2})|(?<char>[rnt0\\]))/g, (_, hex: string | undefined, char: string) =>
    hex === undefined ? { r: '\r', n: '\n', t: '\t', '0': '\0', '\\': '\\' }[char]! : String.fromCharCode(Number.parseInt(hex, 16)),
  )

const DEADLINE = 10_000

/** The client's side of one connection, line by line. */
export class Client {
  #socket: Socket
  #received = ''
  #ended = false
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    this.#listen()
  }

  static async open(port: number, security: 'clear' | 'tls'): Promise<Client> {
    const socket =
      security === 'tls' ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }) : createConnection(port, '127.0.0.1')
    const client = new Client(socket)
    await new Promise((resolve, reject) => socket.once(security === 'tls' ? 'secureConnect' : 'connect', resolve).once('error', reject))
    return client
  }

  send(bytes: string): void {
    this.#socket.write(Buffer.from(bytes, 'latin1'))
  }

  async startTls(): Promise<void> {
    this.#socket.removeAllListeners('data')
    const secure = connectTls({ socket: this.#socket, rejectUnauthorized: false })
    this.#socket = secure
    this.#listen()
    await new Promise((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject))
  }

  /** The next line without its end; undefined when the connection has ended. */
  async line(): Promise<string | undefined> {
    await this.#until(() => this.#received.includes('\n') || this.#ended)
    const end = this.#received.indexOf('\n')
    if (end < 0) return undefined
    const line = this.#received.slice(0, end)
    this.#received = this.#received.slice(end + 1)
    if (!line.endsWith('\r')) throw new Error(`the server sent a line without CRLF: ${JSON.stringify(line)}`)
    return line.slice(0, -1)
  }

  async closed(): Promise<string> {
    await this.#until(() => this.#ended)
    return this.#received
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** As a client whose process or machine is gone. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  #listen(): void {
    const wake = () => this.#wake?.()
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('utf8')
      wake()
    })
    const end = () => {
      this.#ended = true
      wake()
    }
    this.#socket.on('end', end).on('close', end).on('error', end)
  }

  async #until(fact: () => boolean): Promise<void> {
    while (!fact()) {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`nothing came for ${DEADLINE} ms`)), DEADLINE)
        this.#wake = () => {
          clearTimeout(late)
          resolve()
        }
      })
    }
  }
}

/** Whether a line is what the transcript says; … stands for anything. */
export const matches = (pattern: string, line: string): boolean =>
  new RegExp(`^${pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '.*')}$`, 's').test(line)

export type Stored = {
  readonly envelope: { readonly sender: string; readonly recipients: readonly { readonly address: string }[] }
  readonly content: Buffer
}
export type Stage = {
  readonly port: number
  readonly security: 'clear' | 'tls'
  /** Messages in the order stored. */
  readonly stored: () => readonly Stored[]
  readonly act: (word: string, client: Client) => Promise<void>
}

/** Plays it; returns what went otherwise than written, with line numbers, or nothing. */
export async function play(transcript: Transcript, stage: Stage): Promise<string[]> {
  const client = await Client.open(stage.port, stage.security)
  const wrong: string[] = []
  let toSend = ''
  let messages = 0
  let pushedBack: string | undefined
  const next = async () => {
    const line = pushedBack ?? (await client.line())
    pushedBack = undefined
    return line
  }
  const flush = () => {
    if (toSend !== '') client.send(toSend)
    toSend = ''
  }
  const expectLine = async ({ line, text }: Step) => {
    const got = await next()
    if (got === undefined || !matches(text, got)) return void wrong.push(`line ${line}: must be ${text}, was ${got ?? 'the end'}`)
    if (!/^\d{3}-/.test(text)) return
    for (let more = await next(); more !== undefined; more = await next()) {
      if (!matches(text, more)) {
        pushedBack = more
        return
      }
    }
  }
  const check = (step: Step, was: unknown, holds: boolean) => {
    if (!holds) wrong.push(`line ${step.line}: must be ${step.word} ${step.text}, was ${JSON.stringify(was)}`)
  }
  const perform: Record<string, (step: Step) => void | Promise<void>> = {
    C: ({ text }) => void (toSend += `${Buffer.from(text, 'utf8').toString('latin1')}\r\n`),
    'C!': ({ text }) => void (toSend += unescape(text)),
    S: expectLine,
    TLS: () => client.startTls(),
    CLOSED: async (step) => {
      const rest = await client.closed()
      check(step, rest, rest === '')
    },
    STORED: (step) => {
      const message = stage.stored()[messages++]
      const was = message && `${message.envelope.sender || '<>'} -> ${message.envelope.recipients.map(({ address }) => address).join(', ')}`
      check(step, was, was === step.text)
    },
    CONTENT: (step) => {
      const content = stage.stored()[messages - 1]?.content.toString('latin1')
      check(step, content, content?.includes(unescape(step.text)) === true)
    },
    ENVELOPE: (step) => {
      const envelope: unknown = stage.stored()[messages - 1]?.envelope
      check(step, envelope, includes(envelope, JSON.parse(step.text)))
    },
    'NOTHING STORED': (step) => check(step, stage.stored().slice(messages), stage.stored().length === messages),
    DO: ({ text }) => stage.act(text, client),
  }
  try {
    for (const step of transcript.steps) {
      if (!step.word.startsWith('C')) flush()
      if (step.word === 'CLOSED') flush()
      await perform[step.word]!(step)
      if (wrong.length > 0) return wrong
    }
    return wrong
  } finally {
    client.destroy()
  }
}

function includes(value: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null) return value === part
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.entries(part).every(([key, wanted]) => includes((value as Record<string, unknown>)[key], wanted))
  )
}
