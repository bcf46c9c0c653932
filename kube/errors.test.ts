import { expect, test } from 'vitest'
import { classifyBreak, classifyStatus, isKubeError, KubeError } from './errors.ts'

test.each([
  [401, {}, { kind: 'unauthorized' }],
  [403, {}, { kind: 'forbidden' }],
  [404, {}, { kind: 'notFound' }],
  [409, { reason: 'AlreadyExists' }, { kind: 'alreadyExists' }],
  [409, { reason: 'Conflict' }, { kind: 'conflict' }],
  [410, {}, { kind: 'gone' }],
  [400, {}, { kind: 'invalid' }],
  [422, {}, { kind: 'invalid' }],
  [500, {}, { kind: 'serverError', code: 500 }],
  [503, {}, { kind: 'serverError', code: 503 }],
  [429, { details: { retryAfterSeconds: 7 } }, { kind: 'tooManyRequests', retryAfterSeconds: 7 }],
])('status %i %j is %j', (code, status, failure) => {
  expect(classifyStatus(code, status)).toEqual(failure)
})

test('the Retry-After header counts before the body, and nonsense in it means a second', () => {
  expect(classifyStatus(429, { details: { retryAfterSeconds: 7 } }, '3')).toEqual({ kind: 'tooManyRequests', retryAfterSeconds: 3 })
  expect(classifyStatus(429, {}, 'soon')).toEqual({ kind: 'tooManyRequests', retryAfterSeconds: 1 })
})

test.each([
  ['ECONNREFUSED', 'refused'],
  ['CERT_HAS_EXPIRED', 'tls'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls'],
  ['UND_ERR_BODY_TIMEOUT', 'timeout'],
  ['ECONNRESET', 'reset'],
  ['EAI_AGAIN', 'unreachable'],
  ['HPE_INVALID_CONSTANT', 'reset'],
])('a break with code %s is %s', (code, reason) => {
  expect(classifyBreak(Object.assign(new Error('x'), { code }))).toBe(reason)
})

test('the innermost known code decides', () => {
  const inner = Object.assign(new Error('inner'), { code: 'ETIMEDOUT' })
  expect(classifyBreak(Object.assign(new Error('other side closed', { cause: inner }), { code: 'UND_ERR_SOCKET' }))).toBe('timeout')
})

test('a defect of this program is no break', () => {
  expect([
    classifyBreak(new TypeError('a defect')),
    classifyBreak(Object.assign(new Error('bad header'), { code: 'UND_ERR_INVALID_ARG' })),
  ]).toEqual([undefined, undefined])
})

test('isKubeError tells kinds apart', () => {
  const error = new KubeError({ kind: 'gone' }, 'too old')
  expect([isKubeError(error), isKubeError(error, 'gone'), isKubeError(error, 'conflict'), isKubeError(new Error('gone'))]).toEqual([
    true,
    true,
    false,
    false,
  ])
})
