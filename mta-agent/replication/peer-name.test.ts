import { expect, test } from 'vitest'
import { formatPeerName, type PeerNaming, parsePeerNames } from './peer-name.ts'

const SCOPE = { stream: 'news', namespace: 'mail' }

const CASES: Record<string, { readonly altNames: string | undefined; readonly want: PeerNaming }> = {
  'an instance of the stream': { altNames: 'DNS:news-0-a.news.mail.mtafleet', want: { kind: 'named', instance: 'news-0-a' } },
  'beside a name of another kind': {
    altNames: 'DNS:localhost, IP Address:127.0.0.1, DNS:news-0-a.news.mail.mtafleet',
    want: { kind: 'named', instance: 'news-0-a' },
  },
  'an instance whose name has a dot': { altNames: 'DNS:news.0.a.news.mail.mtafleet', want: { kind: 'named', instance: 'news.0.a' } },
  'another stream': { altNames: 'DNS:cold-0-a.cold.mail.mtafleet', want: { kind: 'stranger', names: ['DNS:cold-0-a.cold.mail.mtafleet'] } },
  'another namespace': {
    altNames: 'DNS:news-0-a.news.web.mtafleet',
    want: { kind: 'stranger', names: ['DNS:news-0-a.news.web.mtafleet'] },
  },
  'the stream itself': { altNames: 'DNS:.news.mail.mtafleet', want: { kind: 'stranger', names: ['DNS:.news.mail.mtafleet'] } },
  'two instances at once': {
    altNames: 'DNS:a.news.mail.mtafleet, DNS:b.news.mail.mtafleet',
    want: { kind: 'stranger', names: ['DNS:a.news.mail.mtafleet', 'DNS:b.news.mail.mtafleet'] },
  },
  'the name as an address of mail': {
    altNames: 'email:news-0-a.news.mail.mtafleet',
    want: { kind: 'stranger', names: ['email:news-0-a.news.mail.mtafleet'] },
  },
  'no names': { altNames: undefined, want: { kind: 'stranger', names: [] } },
}

test.each(Object.entries(CASES))('a certificate that names %s', (_, { altNames, want }) => {
  expect(parsePeerNames(SCOPE, altNames)).toEqual(want)
})

test('what is formatted is parsed back', () => {
  expect(parsePeerNames(SCOPE, `DNS:${formatPeerName(SCOPE, 'news-3-b')}`)).toEqual({ kind: 'named', instance: 'news-3-b' })
})
