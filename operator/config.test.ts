import { expect, test } from 'vitest'
import { readConfig } from './config.ts'

const LEAST = { OPERATOR_NAMESPACE: 'mtafleet-system', POD_NAME: 'operator-1', AGENT_IMAGE: 'mtafleet:1' }

test('three variables are enough', () => {
  expect(readConfig(LEAST)).toEqual({
    namespace: 'mtafleet-system',
    podName: 'operator-1',
    agentImage: 'mtafleet:1',
    agentImagePullSecrets: [],
    watchNamespaces: [],
    logLevel: 'Info',
    ports: { first: 20000, last: 24999 },
    kubeconfig: undefined,
    http: { host: undefined, port: 8080 },
    lease: { name: 'mtafleet-operator', durationMillis: 15_000, renewDeadlineMillis: 10_000, retryMillis: 2000 },
  })
})

test('everything can be set, and what is set to nothing is not set', () => {
  const env = {
    ...LEAST,
    WATCH_NAMESPACES: 'one, two',
    AGENT_IMAGE_PULL_SECRETS: 'registry,mirror',
    PORT_RANGE: '30000-30999',
    LOG_LEVEL: '',
    HTTP_PORT: '0',
    LEASE_DURATION_SECONDS: '20',
  }
  expect(readConfig(env)).toMatchObject({
    watchNamespaces: ['one', 'two'],
    agentImagePullSecrets: ['registry', 'mirror'],
    ports: { first: 30000, last: 30999 },
    logLevel: 'Info',
    http: { port: 0 },
    lease: { durationMillis: 20_000 },
  })
})

test.each([
  [{ AGENT_IMAGE: '' }, "AGENT_IMAGE must be set, was ''"],
  [{ PORT_RANGE: '20000' }, "PORT_RANGE must be two ports, as in 20000-24999, was '20000'"],
  [{ PORT_RANGE: '80-90' }, "PORT_RANGE must be at least three ports from 1024 to 65535, was '80-90'"],
  [{ LOG_LEVEL: 'Loud' }, "was 'Loud'"],
  [
    { RENEW_DEADLINE_SECONDS: '15' },
    'RETRY_PERIOD_SECONDS < RENEW_DEADLINE_SECONDS < LEASE_DURATION_SECONDS must hold, but they are 2, 15, 15',
  ],
])('%j is refused', (wrong, message) => {
  expect(() => readConfig({ ...LEAST, ...wrong })).toThrow(message)
})
