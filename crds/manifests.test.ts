import { globSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse as parseYaml, parseAllDocuments } from 'yaml'
import { readCases } from '#test/manifests/manifests.ts'
import { InvalidDocument, parseIPPool, parseMTAInstance, parseSendingStream } from './parse.ts'

/**
 * The rules have two spellings. The same manifests that test/manifests plays to an API server are read here as files: both must come to the
 * same verdict, but for what only a cluster can know.
 */
const CLUSTER_ONLY = ['instance-made-by-a-person', 'instance-port-zero', 'stream-route-to-own-service']

const PARSERS = { SendingStream: parseSendingStream, IPPool: parseIPPool, MTAInstance: parseMTAInstance }

function verdict(text: string): 'valid' | 'invalid' {
  const document = parseYaml(text) as { readonly kind: keyof typeof PARSERS }
  try {
    PARSERS[document.kind](document)
    return 'valid'
  } catch (error) {
    if (error instanceof InvalidDocument) return 'invalid'
    throw error
  }
}

describe('a file that the API server would accept is valid', () => {
  test.each(readCases('right'))('$name', ({ documents }) => {
    expect(documents.map(verdict)).toEqual(documents.map(() => 'valid'))
  })
})

describe('a file that the API server would refuse for itself alone is invalid', () => {
  test.each(readCases('wrong').filter(({ name, documents }) => documents.length === 1 && !CLUSTER_ONLY.includes(name)))(
    '$name',
    ({ documents }) => {
      expect(documents.map(verdict)).toEqual(['invalid'])
    },
  )
})

describe('what only a cluster knows is valid in a file', () => {
  test.each(readCases('wrong').filter(({ name, documents }) => documents.length > 1 || CLUSTER_ONLY.includes(name)))(
    '$name',
    ({ documents }) => {
      expect(documents.map(verdict)).toEqual(documents.map(() => 'valid'))
    },
  )
})

test.each(globSync('examples/*.yaml').toSorted())('%s is valid', (path) => {
  const documents = parseAllDocuments(readFileSync(path, 'utf8')).map((document) => document.toJS() as { readonly kind: string })
  const own = documents.filter(({ kind }) => kind in PARSERS)
  expect(own.map((document) => verdict(JSON.stringify(document)))).toEqual(own.map(() => 'valid'))
})
