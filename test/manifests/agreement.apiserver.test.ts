import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { InvalidDocument, parseIPPool, parseSendingStream } from '#crds/parse.ts'
import { type ApiServer, openApiServer } from '#test/cluster/api-server.ts'
import { binary, ensureBinaries } from '#test/cluster/binaries.ts'
import { runCommand } from '#test/support/command.ts'
import { installApi, kubectl, readCases } from './manifests.ts'

/**
 * The law behind two spellings of a rule: whatever is written into a field, the API server and our parsers come to the same verdict.
 * The seed is fixed, so that a failure is one everywhere.
 */

let server: ApiServer

beforeAll(async () => {
  await ensureBinaries(['kubectl'])
  server = await openApiServer()
  await installApi(kubectl(server.kubeconfig))
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
})

type Document = { readonly kind: string; readonly metadata: object; readonly spec: { readonly [field: string]: unknown } }
const [POOL, STREAM] = ['pool-cold-alone', 'stream-smallest'].map(
  (name) => parseYaml(readCases('right').find((one) => one.name === name)!.documents[0]!) as Document,
) as [Document, Document]

const withAddress = (address: string): object => ({
  ...POOL.spec,
  addresses: [{ address, hostName: 'mta.senders.example', nodeName: 'node1' }],
})
const withHostName = (hostName: string): object => ({ ...POOL.spec, addresses: [{ address: '192.0.2.1', hostName, nodeName: 'node1' }] })
const withNetwork = (network: string): object => ({ ...STREAM.spec, submission: { allowedNetworks: [network] } })
const withSize = (size: string): object => ({ ...STREAM.spec, queue: { storageClassName: 'local-ssd', size } })
const withNextHop = (host: string): object => ({ ...STREAM.spec, routes: [{ domain: '*', nextHop: { host } }] })

/** Right ones, and right ones with a small fault: mere noise would be refused by anything. */
const spoilt = (right: fc.Arbitrary<string>, alphabet: string): fc.Arbitrary<string> =>
  fc.oneof(
    right,
    fc
      .tuple(right, fc.nat(), fc.constantFrom(...alphabet.split(''), ''))
      .map(([text, at, letter]) => text.slice(0, at % text.length) + letter + text.slice((at % text.length) + (at % 2))),
  )

const addresses = spoilt(
  fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('::', '::1', 'ff02::1', 'fe80::1', '2001:db8::')),
  '0123459abcfF:.%/',
)
const networks = spoilt(
  fc.oneof(
    fc.tuple(fc.ipV4(), fc.nat(33)).map(([ip, length]) => `${ip}/${length}`),
    fc.tuple(fc.nat(255), fc.nat(9)).map(([first, length]) => `${first}.0.0.0/${length}`),
    fc.tuple(fc.constantFrom('2001:db8::', 'fc00::', '::'), fc.nat(130)).map(([ip, length]) => `${ip}/${length}`),
  ),
  '0129:./',
)
const names = spoilt(fc.oneof(fc.domain(), fc.constantFrom('a.b', 'a', '1.2.3.4', 'xn--p1ai.example', 'a--b.c')), 'aZ09-._ ü*')
const quantities = spoilt(
  fc.oneof(
    fc
      .tuple(fc.nat(200), fc.constantFrom('', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'm', 'e3', 'E', 'e9', 'u'))
      .map(([n, unit]) => `${n}${unit}`),
    fc.tuple(fc.nat(9), fc.nat(999), fc.constantFrom('Gi', 'G', '')).map(([whole, part, unit]) => `${whole}.${part}${unit}`),
  ),
  '0.-+eEKi ',
)

test.each<[string, Document, (value: string) => object, fc.Arbitrary<string>]>([
  ['addresses', POOL, withAddress, addresses],
  ['host names', POOL, withHostName, names],
  ['networks', STREAM, withNetwork, networks],
  ['queue sizes', STREAM, withSize, quantities],
  ['next hops', STREAM, withNextHop, fc.oneof(names, addresses)],
])('the API server and our parsers agree on %s', async (_, document, specOf, values) => {
  const cases = [...new Set(fc.sample(values, { numRuns: 150, seed: 3 }))].map((value, index) => ({
    value,
    document: { ...document, metadata: { name: `case-${index}` }, spec: specOf(value) },
  }))
  const items = cases.map((one) => one.document)
  const refused = await refusedNames(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
  const verdicts = cases.map(({ value, document: one }) => ({
    value,
    apiServer: !refused.has(one.metadata.name),
    parser: isValid(one),
  }))
  expect(verdicts.filter(({ apiServer, parser }) => apiServer !== parser)).toEqual([])
  // Neither verdict may be the only one, or agreement would say nothing.
  expect(new Set(verdicts.map(({ parser }) => parser))).toEqual(new Set([true, false]))
})

function isValid(document: object & Pick<Document, 'kind'>): boolean {
  const parse = document.kind === 'IPPool' ? parseIPPool : parseSendingStream
  try {
    parse(document)
    return true
  } catch (error) {
    if (error instanceof InvalidDocument) return false
    throw error
  }
}

/** Names of those that the API server refuses, each called by its name in what kubectl prints. */
async function refusedNames(list: string): Promise<Set<string>> {
  const said: string[] = []
  const argv = [binary('kubectl'), '--kubeconfig', server.kubeconfig, 'create', '--dry-run=server', '--filename', '-']
  await expect(runCommand(argv, { input: list, onLine: (line) => said.push(line) })).rejects.toThrow('is invalid')
  // Pieces of lines, where a line was cut by the pipe: so not line by line.
  return new Set([...said.join('').matchAll(/"(case-\d+)" is invalid/g)].map((match) => match[1]!))
}
