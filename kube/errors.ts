/**
 * What can go wrong with a call, as one tagged type: callers decide by kind, never by status code or message text.
 * An aborted signal is not among them: then the signal's own reason is thrown.
 */

/** Why the API server could not be asked, or its answer did not arrive. The call may have had its effect all the same. */
export type UnavailableReason =
  | 'refused'
  | 'reset'
  | 'timeout'
  | 'tls'
  | 'unreachable'
  /** What came is no JSON. */
  | 'garbled'
  /** Our own token, certificate or kubeconfig file could not be read. */
  | 'credentials'

export type KubeFailure =
  | { readonly kind: 'notFound' }
  /** The object changed since it was read, or a precondition did not hold. */
  | { readonly kind: 'conflict' }
  | { readonly kind: 'alreadyExists' }
  /** The credentials were not accepted (401); they may have been rotated. */
  | { readonly kind: 'unauthorized' }
  /** Not allowed by RBAC or refused by admission (403). */
  | { readonly kind: 'forbidden' }
  /** The object is wrong (400, 413, 415, 422); the message says what must be. */
  | { readonly kind: 'invalid' }
  /** The resource version or page token is too old (410): list again. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'tooManyRequests'; readonly retryAfterSeconds: number }
  | { readonly kind: 'unavailable'; readonly reason: UnavailableReason }
  | { readonly kind: 'serverError'; readonly code: number }
export type KubeFailureKind = KubeFailure['kind']

export class KubeError extends Error {
  override readonly name = 'KubeError'
  readonly failure: KubeFailure

  constructor(failure: KubeFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.failure = failure
  }

  get kind(): KubeFailureKind {
    return this.failure.kind
  }
}

/** Whether this is a failed call of one of the given kinds; of any kind when none is given. */
export function isKubeError(error: unknown, ...kinds: readonly KubeFailureKind[]): error is KubeError {
  return error instanceof KubeError && (kinds.length === 0 || kinds.includes(error.kind))
}

/** metav1.Status, as far as it is read. */
export type Status = {
  readonly kind?: string
  readonly message?: string
  readonly reason?: string
  readonly code?: number
  readonly details?: { readonly retryAfterSeconds?: number }
}

/** An HTTP answer that is not 2xx. `retryAfter` is the header of that name. */
export function classifyStatus(code: number, status: Status, retryAfter?: string): KubeFailure {
  switch (code) {
    case 401:
      return { kind: 'unauthorized' }
    case 403:
      return { kind: 'forbidden' }
    case 404:
      return { kind: 'notFound' }
    case 409:
      return { kind: status.reason === 'AlreadyExists' ? 'alreadyExists' : 'conflict' }
    case 410:
      return { kind: 'gone' }
    case 429:
      return { kind: 'tooManyRequests', retryAfterSeconds: retryAfterSeconds(status, retryAfter) }
    default:
      return code < 500 ? { kind: 'invalid' } : { kind: 'serverError', code }
  }
}

function retryAfterSeconds(status: Status, header: string | undefined): number {
  const seconds = Number(header ?? status.details?.retryAfterSeconds ?? 1)
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : 1
}

const REASONS: ReadonlyMap<string, UnavailableReason> = new Map<string, UnavailableReason>([
  ['ECONNREFUSED', 'refused'],
  ['ETIMEDOUT', 'timeout'],
  ['UND_ERR_CONNECT_TIMEOUT', 'timeout'],
  ['UND_ERR_HEADERS_TIMEOUT', 'timeout'],
  ['UND_ERR_BODY_TIMEOUT', 'timeout'],
  ['EHOSTUNREACH', 'unreachable'],
  ['ENETUNREACH', 'unreachable'],
  ['EHOSTDOWN', 'unreachable'],
  ['ENETDOWN', 'unreachable'],
  ['EADDRNOTAVAIL', 'unreachable'],
  ['ENOTFOUND', 'unreachable'],
  ['EAI_AGAIN', 'unreachable'],
  ['ECONNRESET', 'reset'],
  ['EPIPE', 'reset'],
  ['ECONNABORTED', 'reset'],
  ['UND_ERR_SOCKET', 'reset'],
  ['EPROTO', 'tls'],
])
const TLS_CODES = /^(CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|CRL_)/

/** Codes that mean a defect of ours, not of the exchange. */
const DEFECTS = /^(UND_ERR_INVALID|UND_ERR_NOT_SUPPORTED|ERR_INVALID_)/

/** Why an exchange broke, from the code of the error or of its causes; undefined when it is a defect of this program. */
export function classifyBreak(error: unknown): UnavailableReason | undefined {
  const codes = codesOf(error)
  if (codes.some((code) => TLS_CODES.test(code))) return 'tls'
  if (codes.length === 0 || codes.some((code) => DEFECTS.test(code))) return undefined
  // undici wraps what the socket said: the inner code is the truer one. What is in no table broke the exchange all the same.
  return codes.toReversed().flatMap((code) => REASONS.get(code) ?? [])[0] ?? 'reset'
}

function codesOf(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 4) return []
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : []
  const inner = error instanceof AggregateError ? error.errors : [error.cause]
  return [...own, ...inner.flatMap((cause) => codesOf(cause, depth + 1))]
}
