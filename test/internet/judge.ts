import type { Action, Behaviour, Match, Rule, Stage } from './behaviour.ts'

/**
 * Decides what a provider does at a point of the dialogue: rules first, then throttle and greylist. It remembers what it has to (how often a
 * rule acted, who was seen when), in bounded tables; time is an argument.
 */
export type Question = {
  readonly stage: Stage
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly sourceAddress: string
  readonly hello: string
  readonly tls: 'none' | 'some'
  readonly sender: string
  /** The recipient asked about at rcpt, all accepted ones from then on. */
  readonly recipients: readonly string[]
  /** Messages taken on this connection before this one. */
  readonly messagesBefore: number
}

const MOST_REMEMBERED = 200_000
const CLOSE: Action = { do: 'close', afterBytes: 0, how: 'fin' }

export class Judge {
  readonly #behaviour: Behaviour
  readonly #acted = new Map<Rule, number>()
  readonly #windows = new Map<string, { readonly since: number; count: number }>()
  readonly #firstSeen = new Map<string, number>()

  constructor(behaviour: Behaviour) {
    this.#behaviour = behaviour
  }

  /** What to do instead of the usual; undefined: the usual. */
  decide(question: Question): Action | undefined {
    return this.#rule(question) ?? this.#messagesPerConnection(question) ?? this.#throttle(question) ?? this.#greylist(question)
  }

  #rule(question: Question): Action | undefined {
    for (const rule of this.#behaviour.rules) {
      if (rule.at !== question.stage || !matches(rule.match, question)) continue
      const acted = this.#acted.get(rule) ?? 0
      if (rule.times !== undefined && acted >= rule.times) continue
      this.#acted.set(rule, acted + 1)
      return rule.action
    }
    return undefined
  }

  #messagesPerConnection(question: Question): Action | undefined {
    const most = this.#behaviour.messagesPerConnection
    return most !== undefined && question.stage === 'mail' && question.messagesBefore >= most ? CLOSE : undefined
  }

  #throttle(question: Question): Action | undefined {
    const throttle = this.#behaviour.throttle
    if (throttle === undefined || throttle.at !== question.stage) return undefined
    const open = this.#windows.get(question.sourceAddress)
    if (open === undefined || question.at - open.since >= throttle.intervalSeconds * 1000) {
      remember(this.#windows, question.sourceAddress, { since: question.at, count: 1 })
      return undefined
    }
    if (open.count >= throttle.messages) return { do: 'reply', reply: throttle.reply }
    open.count += 1
    return undefined
  }

  #greylist(question: Question): Action | undefined {
    const greylist = this.#behaviour.greylist
    if (greylist === undefined || question.stage !== 'rcpt') return undefined
    const triplet = [question.sourceAddress, question.sender, question.recipients[0]].join('\n').toLowerCase()
    const seen = this.#firstSeen.get(triplet)
    if (seen === undefined) remember(this.#firstSeen, triplet, question.at)
    const waited = seen === undefined ? 0 : question.at - seen
    if (seen !== undefined && waited >= greylist.delaySeconds * 1000) return undefined
    return { do: 'reply', reply: greylist.reply }
  }
}

function matches(match: Match, question: Question): boolean {
  return (
    same(match.sourceAddress, question.sourceAddress) &&
    same(match.hello?.toLowerCase(), question.hello.toLowerCase()) &&
    same(match.tls, question.tls) &&
    like(match.sender, [question.sender]) &&
    like(match.localPart, question.recipients.map(localPartOf))
  )
}

const same = (wanted: string | undefined, found: string): boolean => wanted === undefined || wanted === found

function like(pattern: string | undefined, found: readonly string[]): boolean {
  if (pattern === undefined) return true
  const parts = pattern
    .toLowerCase()
    .split('*')
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  const expression = new RegExp(`^${parts.join('.*')}$`, 's')
  return found.some((text) => expression.test(text.toLowerCase()))
}

const localPartOf = (address: string): string => address.slice(0, Math.max(0, address.lastIndexOf('@')))

/** The oldest entry goes when the table is full: a provider forgets too. */
function remember<V>(table: Map<string, V>, key: string, value: V): void {
  table.delete(key)
  table.set(key, value)
  if (table.size > MOST_REMEMBERED) table.delete(table.keys().next().value!)
}
