import type { Arrival, Beginning } from './arrival.ts'
import type { Action, Behaviour, Stage } from './behaviour.ts'
import type { ContentFacts } from './content.ts'
import type { Question } from './judge.ts'

/**
 * The server side of SMTP (RFC 5321) and LMTP (RFC 2033) as a state machine without sockets: an event and a session in, a session and effects
 * out. It says 250 to a final dot only together with the arrival that is to be written down.
 *
 *   connected ──▶ commands ──DATA──▶ content ──final dot──▶ commands ──QUIT, 421──▶ over
 *                    └──STARTTLS──▶ handshake ──secured──▶ commands (all forgotten, RFC 3207 section 4.2)
 */
export type Session = {
  readonly phase: 'connected' | 'commands' | 'handshake' | 'content' | 'over'
  readonly client: Client
  readonly hello: string
  readonly tls: Arrival['tls']
  readonly transaction: Transaction | undefined
  /** Messages whose final dot was answered with 250. */
  readonly taken: number
  readonly transactions: number
}
export type Client = { readonly sourceAddress: string; readonly host: string; readonly session: number }
export type Transaction = {
  readonly sender: string
  readonly senderParameters: readonly string[]
  readonly recipients: Arrival['recipients']
  readonly refusedRecipients: readonly string[]
}

export type Event =
  | { readonly kind: 'connected'; readonly at: number }
  | { readonly kind: 'line'; readonly line: string; readonly at: number }
  | { readonly kind: 'lineTooLong'; readonly at: number }
  | { readonly kind: 'secured'; readonly tls: NonNullable<Arrival['tls']>; readonly at: number }
  | { readonly kind: 'content'; readonly content: ContentFacts | 'tooBig'; readonly at: number }
  | { readonly kind: 'idle'; readonly at: number }

export type Effect =
  /** Once it is handed to the network, `arrival` has happened; if it cannot be, its outcome is closedAfterDot. */
  | { readonly kind: 'write'; readonly text: string; readonly arrival?: Arrival }
  | { readonly kind: 'record'; readonly arrival: Arrival }
  | { readonly kind: 'begin'; readonly beginning: Beginning }
  | { readonly kind: 'wait'; readonly millis: number }
  | { readonly kind: 'hang' }
  | { readonly kind: 'close'; readonly how: 'fin' | 'reset' }
  | {
      readonly kind: 'readContent'
      readonly limit: number
      readonly stop: Stop | undefined
    }
  | { readonly kind: 'startTls' }

/** Where in a message the provider stops reading, and how. */
export type Stop = { readonly afterBytes: number; readonly how: 'hang' | 'fin' | 'reset' }

export type Step = { readonly session: Session; readonly effects: readonly Effect[] }

/** What the machine must know about its provider. */
export type Rules = {
  readonly provider: string
  readonly hostName: string
  readonly protocol: 'smtp' | 'lmtp'
  readonly behaviour: Behaviour
  decide(question: Question): Action | undefined
}

const SIZE_WHEN_NOT_ADVERTISED = 52_428_800

export const openSession = (client: Client): Session => ({
  phase: 'connected',
  client,
  hello: '',
  tls: null,
  transaction: undefined,
  taken: 0,
  transactions: 0,
})

export function step(rules: Rules, session: Session, event: Event): Step {
  switch (event.kind) {
    case 'connected':
      return greet(rules, session, event.at)
    case 'line':
      return readCommand(rules, session, event)
    case 'lineTooLong':
      return say(rules, session, ['500 5.5.6 Line too long'])
    case 'secured':
      // RFC 3207 section 4.2: what was learnt before the handshake is forgotten.
      return { session: { ...session, phase: 'commands', tls: event.tls, hello: '', transaction: undefined }, effects: [] }
    case 'content':
      return endContent(rules, session, event)
    case 'idle':
      return say(rules, { ...session, phase: 'over' }, ['421 4.4.2 Idle for too long, closing'])
  }
}

function greet(rules: Rules, session: Session, at: number): Step {
  const open: Session = { ...session, phase: 'commands' }
  // Before the first byte there is nothing that afterBytes could count.
  const early = rules.decide(ask(session, 'connect', at))
  if (early?.do === 'hang') return { session: open, effects: [{ kind: 'hang' }] }
  if (early?.do === 'close') return { session: { ...open, phase: 'over' }, effects: [{ kind: 'close', how: early.how }] }
  const greeted = answer(rules, { session: open, stage: 'greeting', at }, () => say(rules, open, [`220 ${rules.hostName} ESMTP`]))
  return early?.do === 'delay' ? { ...greeted, effects: [{ kind: 'wait', millis: early.millis }, ...greeted.effects] } : greeted
}

type Command = { readonly verb: string; readonly rest: string; readonly at: number }
type Reader = (rules: Rules, session: Session, command: Command) => Step

const COMMANDS: Readonly<Record<string, Reader>> = {
  EHLO: (rules, session, command) => hello(rules, session, command),
  LHLO: (rules, session, command) => hello(rules, session, command),
  HELO: (rules, session, command) => hello(rules, session, command),
  STARTTLS: startTls,
  XFORWARD: forwarded,
  MAIL: mail,
  RCPT: rcpt,
  DATA: data,
  RSET: (rules, session, { at }) =>
    answer(rules, { session, stage: 'rset', at }, () => say(rules, { ...session, transaction: undefined }, ['250 2.0.0 Forgotten'])),
  NOOP: (rules, session, { at }) => answer(rules, { session, stage: 'noop', at }, () => say(rules, session, ['250 2.0.0 Still here'])),
  VRFY: (rules, session) => say(rules, session, ['252 2.5.0 Try it and see']),
  QUIT: (rules, session, { at }) =>
    answer(rules, { session, stage: 'quit', at }, () => ending(say(rules, { ...session, phase: 'over' }, ['221 2.0.0 Bye']))),
}

function readCommand(rules: Rules, session: Session, event: Extract<Event, { kind: 'line' }>): Step {
  const space = event.line.indexOf(' ')
  const verb = (space < 0 ? event.line : event.line.slice(0, space)).toUpperCase()
  const rest = space < 0 ? '' : event.line.slice(space + 1).trim()
  const read = Object.hasOwn(COMMANDS, verb) ? COMMANDS[verb] : undefined
  if (read === undefined) return say(rules, session, ['500 5.5.1 Command not known'])
  return read(rules, session, { verb, rest, at: event.at })
}

function hello(rules: Rules, session: Session, { verb, rest, at }: Command): Step {
  if ((verb === 'LHLO') !== (rules.protocol === 'lmtp')) return say(rules, session, ['500 5.5.1 Command not known'])
  if (rest === '') return say(rules, session, [`501 5.5.4 ${verb} needs a name`])
  const known: Session = { ...session, hello: rest, transaction: undefined }
  const lines = verb === 'HELO' ? [`250 ${rules.hostName}`] : multiline(250, [rules.hostName, ...keywords(rules, session)])
  return answer(rules, { session: known, stage: 'ehlo', at }, () => ({ session: known, effects: write(rules, lines) }))
}

function keywords(rules: Rules, session: Session): string[] {
  const { capabilities, tls } = rules.behaviour
  return [
    ...(capabilities.pipelining ? ['PIPELINING'] : []),
    ...(capabilities.size === null ? [] : [`SIZE ${capabilities.size}`]),
    ...(tls !== 'none' && session.tls === null ? ['STARTTLS'] : []),
    ...(capabilities.enhancedStatusCodes ? ['ENHANCEDSTATUSCODES'] : []),
    ...(capabilities.eightBitMime ? ['8BITMIME'] : []),
    ...(capabilities.dsn ? ['DSN'] : []),
    ...(capabilities.smtpUtf8 ? ['SMTPUTF8'] : []),
    ...(rules.protocol === 'lmtp' ? ['XFORWARD NAME ADDR PROTO HELO PORT SOURCE IDENT'] : []),
  ]
}

function startTls(rules: Rules, session: Session, { at }: Command): Step {
  if (rules.behaviour.tls === 'none' || session.tls !== null) return say(rules, session, ['503 5.5.1 STARTTLS not offered'])
  return answer(rules, { session, stage: 'starttls', at }, () => {
    const ready = say(rules, { ...session, phase: 'handshake' }, ['220 2.0.0 Ready to start TLS'])
    const action = rules.decide(ask(session, 'tls', at))
    if (action?.do === 'hang') return withEffects(ready, { kind: 'hang' })
    if (action?.do === 'close') return withEffects({ ...ready, session: { ...session, phase: 'over' } }, { kind: 'close', how: action.how })
    const wait: Effect[] = action?.do === 'delay' ? [{ kind: 'wait', millis: action.millis }] : []
    return withEffects(ready, ...wait, { kind: 'startTls' })
  })
}

/** Our own Postfix tells us who its client was. Only believed where it is offered: on LMTP, which listens on a unix socket or loopback. */
function forwarded(rules: Rules, session: Session, { rest }: Command): Step {
  if (rules.protocol !== 'lmtp') return say(rules, session, ['500 5.5.1 Command not known'])
  const given = new Map(rest.split(' ').map((part) => [part.slice(0, part.indexOf('=')).toUpperCase(), part.slice(part.indexOf('=') + 1)]))
  const sourceAddress = given.get('ADDR')?.replace(/^IPV6:/i, '')
  const client = sourceAddress === undefined || sourceAddress.startsWith('[') ? session.client : { ...session.client, sourceAddress }
  return say(rules, { ...session, client, hello: given.get('HELO') ?? session.hello }, ['250 2.0.0 Noted'])
}

function mail(rules: Rules, session: Session, { rest, at }: Command): Step {
  if (session.hello === '') return say(rules, session, ['503 5.5.1 EHLO first'])
  if (session.transaction !== undefined) return say(rules, session, ['503 5.5.1 One message at a time'])
  const path = parsePath(rest, 'FROM')
  if (path === undefined) return say(rules, session, ['501 5.1.7 MAIL FROM:<address> wanted'])
  const refusal = refusedParameter(rules, path)
  if (refusal !== undefined) return say(rules, session, [refusal])
  const transaction: Transaction = { sender: path.address, senderParameters: path.parameters, recipients: [], refusedRecipients: [] }
  const asked = { session: { ...session, transaction }, stage: 'mail', at, otherwise: session } as const
  const answered = answer(rules, asked, () =>
    say(rules, { ...session, transaction, transactions: session.transactions + 1 }, ['250 2.1.0 Sender accepted']),
  )
  return { ...answered, effects: [{ kind: 'begin', beginning: beginningOf(rules, session, at) }, ...answered.effects] }
}

const beginningOf = (rules: Rules, { client }: Session, at: number): Beginning => ({
  provider: rules.provider,
  session: client.session,
  sourceAddress: client.sourceAddress,
  at: new Date(at).toISOString(),
})

type Path = { readonly address: string; readonly parameters: readonly string[] }

function parsePath(rest: string, word: 'FROM' | 'TO'): Path | undefined {
  const found = /^(FROM|TO):\s*<([^<>]*)>((?:\s+\S+)*)$/i.exec(rest)
  if (found === null || found[1]?.toUpperCase() !== word) return undefined
  const parameters = (found[3] ?? '').trim()
  return { address: found[2] ?? '', parameters: parameters === '' ? [] : parameters.split(/\s+/) }
}

/** What a server that lacks an extension says to its parameter (RFC 5321 section 4.1.1.11), and to a size over its limit (RFC 1870). */
function refusedParameter(rules: Rules, path: Path): string | undefined {
  const { capabilities } = rules.behaviour
  const most = capabilities.size ?? SIZE_WHEN_NOT_ADVERTISED
  const offered: Readonly<Record<string, (value: string) => boolean>> = {
    SIZE: () => capabilities.size !== null,
    BODY: (value) => capabilities.eightBitMime && ['7BIT', '8BITMIME'].includes(value),
    SMTPUTF8: () => capabilities.smtpUtf8,
    RET: () => capabilities.dsn,
    ENVID: () => capabilities.dsn,
  }
  for (const parameter of path.parameters) {
    const [name = '', value = ''] = parameter.toUpperCase().split('=')
    if (!Object.hasOwn(offered, name) || offered[name]?.(value) !== true) return `555 5.5.4 ${name} is not offered`
    if (name === 'SIZE' && Number(value) > most) return '552 5.3.4 Message too big'
  }
  return !capabilities.smtpUtf8 && !isAscii(path.address) ? '553 5.6.7 Address needs SMTPUTF8' : undefined
}

const isAscii = (text: string): boolean => !/\P{ASCII}/u.test(text)

function rcpt(rules: Rules, session: Session, { rest, at }: Command): Step {
  const transaction = session.transaction
  if (transaction === undefined) return say(rules, session, ['503 5.5.1 MAIL first'])
  const path = parsePath(rest, 'TO')
  if (path === undefined || path.address === '') return say(rules, session, ['501 5.1.3 RCPT TO:<address> wanted'])
  const refuse = (reply: string): Step => say(rules, withRefused(session, transaction, path.address), [reply])
  if (!rules.behaviour.capabilities.dsn && path.parameters.length > 0) return refuse('555 5.5.4 Parameters are not offered')
  if (!isAscii(path.address) && !transaction.senderParameters.some((parameter) => parameter.toUpperCase() === 'SMTPUTF8')) {
    return refuse('553 5.6.7 Address needs SMTPUTF8')
  }
  if (transaction.recipients.length >= rules.behaviour.recipientsPerMessage) return refuse('452 4.5.3 Too many recipients')
  const asked = {
    session,
    stage: 'rcpt',
    at,
    recipients: [path.address],
    otherwise: withRefused(session, transaction, path.address),
  } as const
  return answer(rules, asked, () =>
    say(rules, { ...session, transaction: { ...transaction, recipients: [...transaction.recipients, path] } }, [
      '250 2.1.5 Recipient accepted',
    ]),
  )
}

function withRefused(session: Session, transaction: Transaction, address: string): Session {
  return { ...session, transaction: { ...transaction, refusedRecipients: [...transaction.refusedRecipients, address] } }
}

function data(rules: Rules, session: Session, { at }: Command): Step {
  if (session.transaction === undefined) return say(rules, session, ['503 5.5.1 MAIL first'])
  if (session.transaction.recipients.length === 0) return say(rules, session, ['554 5.5.1 No valid recipients'])
  const asked = { session, stage: 'data', at, otherwise: { ...session, transaction: undefined } } as const
  return answer(rules, asked, () => {
    const started = say(rules, { ...session, phase: 'content' }, ['354 End with a dot'])
    const limit = rules.behaviour.capabilities.size ?? SIZE_WHEN_NOT_ADVERTISED
    const action = rules.decide(ask(session, 'content', at))
    if (action?.do === 'hang' || action?.do === 'close') {
      const stop: Stop = { afterBytes: action.afterBytes, how: action.do === 'hang' ? 'hang' : action.how }
      return withEffects(started, { kind: 'readContent', limit, stop })
    }
    const wait: Effect[] = action?.do === 'delay' ? [{ kind: 'wait', millis: action.millis }] : []
    return withEffects(started, ...wait, { kind: 'readContent', limit, stop: undefined })
  })
}

function endContent(rules: Rules, session: Session, event: Extract<Event, { kind: 'content' }>): Step {
  const transaction = session.transaction
  if (transaction === undefined) throw new Error('content came to an end, but no transaction was open')
  const next: Session = { ...session, phase: 'commands', transaction: undefined }
  if (event.content === 'tooBig') return say(rules, next, perRecipient(rules, transaction, '552 5.3.4 Message too big'))
  const { relayTls, ...facts } = event.content
  const before: Omit<Arrival, 'outcome' | 'reply'> = {
    provider: rules.provider,
    at: new Date(event.at).toISOString(),
    session: session.client.session,
    transaction: session.transactions,
    sourceAddress: session.client.sourceAddress,
    host: session.client.host,
    hello: session.hello,
    // A relay of ours was spoken to in clear on loopback; what counts is what its client spoke with it.
    tls: rules.protocol === 'lmtp' ? relayTls : session.tls,
    ...transaction,
    ...facts,
  }
  const accepted = `250 2.0.0 Taken as ${session.client.session}.${session.transactions}`
  const action = rules.decide(ask(session, 'dot', event.at))
  const lines = perRecipient(rules, transaction, accepted)
  if (action === undefined || action.do === 'delay') {
    const wait: Effect[] = action === undefined ? [] : [{ kind: 'wait', millis: action.millis }]
    const text = format(rules, lines)
    const arrival: Arrival = { ...before, outcome: 'arrived', reply: withoutEnd(format(rules, [accepted])) }
    return { session: { ...next, taken: session.taken + 1 }, effects: [...wait, ...delay(rules), { kind: 'write', text, arrival }] }
  }
  if (action.do === 'reply') {
    const arrival = replied(before, action.reply.replaceAll('{ip}', session.client.sourceAddress))
    const said = sayReply(rules, next, perRecipient(rules, transaction, arrival.reply).join('\n'))
    if (arrival.outcome !== 'arrived') return { ...said, effects: [{ kind: 'record', arrival }, ...said.effects] }
    return { session: said.session, effects: said.effects.map((effect) => (effect.kind === 'write' ? { ...effect, arrival } : effect)) }
  }
  const outcome = action.do === 'hang' ? 'hungAfterDot' : 'closedAfterDot'
  const stopped = cut(rules, next, action, lines)
  return { ...stopped, effects: [{ kind: 'record', arrival: { ...before, outcome, reply: '' } }, ...stopped.effects] }
}

function replied(before: Omit<Arrival, 'outcome' | 'reply'>, reply: string): Arrival {
  const outcome = reply.startsWith('2') ? 'arrived' : reply.startsWith('5') ? 'refusedAfterDot' : 'deferredAfterDot'
  return { ...before, outcome, reply }
}

/** LMTP answers a final dot once for every recipient (RFC 2033 section 4.2). */
const perRecipient = (rules: Rules, transaction: Transaction, line: string): string[] =>
  rules.protocol === 'lmtp' ? transaction.recipients.map(() => line) : [line]

type Asked = {
  /** The session as the judge should see it. */
  readonly session: Session
  readonly stage: Stage
  readonly at: number
  readonly recipients?: readonly string[]
  /** The session that is left when something else than the usual was said; `session` when absent. */
  readonly otherwise?: Session
}

/** The usual step, or what the judge wants in its place. */
function answer(rules: Rules, asked: Asked, usual: () => Step): Step {
  const action = rules.decide(ask(asked.session, asked.stage, asked.at, asked.recipients))
  if (action === undefined) return usual()
  const otherwise = asked.otherwise ?? asked.session
  switch (action.do) {
    case 'reply':
      return sayReply(rules, otherwise, action.reply.replaceAll('{ip}', asked.session.client.sourceAddress))
    case 'delay': {
      const after = usual()
      return { ...after, effects: [{ kind: 'wait', millis: action.millis }, ...after.effects] }
    }
    case 'hang':
    case 'close':
      return cut(rules, otherwise, action, textOf(usual()))
  }
}

function ask(session: Session, stage: Stage, at: number, recipients?: readonly string[]): Question {
  return {
    stage,
    at,
    sourceAddress: session.client.sourceAddress,
    hello: session.hello,
    tls: session.tls === null ? 'none' : 'some',
    sender: session.transaction?.sender ?? '',
    recipients: recipients ?? session.transaction?.recipients.map(({ address }) => address) ?? [],
    messagesBefore: session.taken,
  }
}

/** Says the first bytes of what it would have said, and then nothing or the end. */
function cut(rules: Rules, session: Session, action: Extract<Action, { do: 'hang' | 'close' }>, lines: readonly string[]): Step {
  const text = format(rules, lines).slice(0, action.afterBytes)
  const begin: Effect[] = text === '' ? [] : [...delay(rules), { kind: 'write', text }]
  if (action.do === 'hang') return { session, effects: [...begin, { kind: 'hang' }] }
  return { session: { ...session, phase: 'over' }, effects: [...begin, { kind: 'close', how: action.how }] }
}

const textOf = (step: Step): string[] =>
  step.effects.flatMap((effect) => (effect.kind === 'write' ? withoutEnd(effect.text).split('\r\n') : []))

const say = (rules: Rules, session: Session, lines: readonly string[]): Step =>
  session.phase === 'over' ? ending({ session, effects: write(rules, lines) }) : { session, effects: write(rules, lines) }

/** A reply as somebody wrote it down, code by code. 421 closes (RFC 5321 section 3.8). */
function sayReply(rules: Rules, session: Session, reply: string): Step {
  const effects: Effect[] = [...delay(rules), { kind: 'write', text: `${reply.split('\n').join('\r\n')}\r\n` }]
  return reply.startsWith('421') ? ending({ session: { ...session, phase: 'over' }, effects }) : { session, effects }
}

const ending = (step: Step): Step =>
  step.effects.some((effect) => effect.kind === 'close') ? step : withEffects(step, { kind: 'close', how: 'fin' })

const withEffects = (step: Step, ...more: readonly Effect[]): Step => ({ ...step, effects: [...step.effects, ...more] })

const write = (rules: Rules, lines: readonly string[]): Effect[] => [...delay(rules), { kind: 'write', text: format(rules, lines) }]

const delay = (rules: Rules): Effect[] =>
  rules.behaviour.replyDelayMillis === 0 ? [] : [{ kind: 'wait', millis: rules.behaviour.replyDelayMillis }]

/** Our own replies carry enhanced codes; without ENHANCEDSTATUSCODES they must not (RFC 2034). */
function format(rules: Rules, lines: readonly string[]): string {
  const kept = rules.behaviour.capabilities.enhancedStatusCodes
    ? lines
    : lines.map((line) => line.replace(/^(\d{3}[ -])[245]\.\d+\.\d+ /, '$1'))
  return `${kept.join('\r\n')}\r\n`
}

const withoutEnd = (text: string): string => text.slice(0, -2)

const multiline = (code: number, texts: readonly string[]): string[] =>
  texts.map((text, index) => `${code}${index === texts.length - 1 ? ' ' : '-'}${text}`)
