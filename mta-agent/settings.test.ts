import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readFileSync } from 'node:fs'
import type { MTAInstance, MTAInstanceSpec } from '#crds/mta-instance.ts'
import { ConfigFault, readConfig } from './config.ts'
import { parseDocument } from './document.ts'
import { planSettings, type Host } from './settings.ts'

const example = parse(readFileSync(new URL('../examples/agent-alone.yaml', import.meta.url), 'utf8')) as { spec: object }
const instance = (change: Partial<MTAInstanceSpec> = {}): MTAInstance =>
  parseDocument({ ...example, spec: { ...example.spec, ...change } }, 'refuse')
const ALONE: Host = { hostName: 'machine', podAddress: undefined, place: 'alone' }

test('the example becomes settings', () => {
  expect(planSettings(instance(), ALONE).submission).toMatchObject({
    hostName: 'mta.example.com',
    listenAddress: '127.0.0.1',
    port: 2587,
    implicitTlsPort: 0,
    mode: 'Run',
    maxMessageBytes: 26_214_400,
    maxRecipients: 1000,
    maxConnections: 500,
  })
})

test('without addresses it calls itself by the name of its machine', () => {
  expect(planSettings(instance({ addresses: [] }), ALONE).submission.hostName).toBe('machine')
})

test.each([
  ['alone', { ...ALONE }, '127.0.0.1'],
  ['in a Pod that knows its address', { ...ALONE, place: 'pod', podAddress: '10.0.0.5' }, '10.0.0.5'],
  ['in a Pod that does not', { ...ALONE, place: 'pod' }, '0.0.0.0'],
] satisfies [string, Host, string][])('%s, submission listens on its own address', (_, host, want) => {
  const { listenAddress: _own, ...spec } = instance().spec
  expect(planSettings({ ...instance(), spec }, host).submission.listenAddress).toBe(want)
})

describe('a changed document', () => {
  const before = planSettings(instance(), ALONE)
  test('limits, networks, addresses and mode change in the running process', () => {
    const after = planSettings(instance({ mode: 'Hold', addresses: [{ address: '127.0.0.2', hostName: 'other.example' }] }), ALONE, before)
    expect([after.submission.mode, after.submission.hostName, after.restartNeeded]).toEqual(['Hold', 'other.example', []])
  })
  test('who attaches the addresses stays: a process that attaches none does not begin to', () => {
    const managed = { addressAttachment: 'Managed', directories: { queue: '/queue', addressHolder: '/run/addresses' } } as const
    const after = planSettings(
      instance({ addressAttachment: 'Existing', directories: managed.directories }),
      ALONE,
      planSettings(instance(managed), ALONE),
    )
    expect([after.instance.spec.addressAttachment, after.restartNeeded]).toEqual(['Managed', ['spec.addressAttachment']])
    expect(planSettings(instance({ addressAttachment: 'Existing' }), ALONE, before).restartNeeded).toEqual([])
  })
  test('ports and directories stay, and are named until the document says again what is', () => {
    const ports = { submission: 1, submissions: 2, admin: 3 }
    const after = planSettings(instance({ ports, directories: { queue: '/elsewhere' } }), ALONE, before)
    expect([after.submission.port, after.instance.spec.directories.queue, after.restartNeeded]).toEqual([
      2587,
      '/tmp/mtafleet/agent-alone',
      ['spec.ports', 'spec.directories'],
    ])
    expect(planSettings(instance(), ALONE, after).restartNeeded).toEqual([])
  })
})

describe('the environment', () => {
  const lines = (env: Record<string, string>, args: string[] = []) => {
    try {
      return readConfig(env, args)
    } catch (error) {
      return error instanceof ConfigFault ? error.lines : error
    }
  }
  test.each([
    [{}, [], ['usage: node mta-agent/main.ts --config FILE, or in a Pod INSTANCE_NAMESPACE and INSTANCE_NAME, was neither']],
    [
      {},
      ['--file', 'x'],
      ['usage: node mta-agent/main.ts --config FILE, or in a Pod INSTANCE_NAMESPACE and INSTANCE_NAME, was "--file x"'],
    ],
    [{ GRACE_SECONDS: '1m' }, ['--config', 'x'], ['GRACE_SECONDS: must be whole seconds, at most 9999, was "1m"']],
  ] satisfies [Record<string, string>, string[], string[]][])('%o %o is a fault', (env, args, want) => {
    expect(lines(env, args)).toEqual(want)
  })
  test('a Pod knows who it is', () => {
    expect(
      lines({
        INSTANCE_NAMESPACE: 'mail',
        INSTANCE_NAME: 'a-0-a',
        INSTANCE_UID: 'u',
        QUEUE_DIRECTORY: '/q',
        QUEUE_VOLUME_UID: 'v',
        POD_IP: '10.0.0.5',
        GRACE_SECONDS: '50',
      }),
    ).toEqual({
      source: { kind: 'cluster', namespace: 'mail', name: 'a-0-a', uid: 'u', queueDirectory: '/q' },
      podAddress: '10.0.0.5',
      queueVolumeUid: 'v',
      graceMillis: 50_000,
      terminationLog: '/dev/termination-log',
    })
  })
})
