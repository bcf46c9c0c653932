import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import { expect, test } from 'vitest'
import { type Authority, issueAuthority, issueCertificate } from './certificate.ts'

const NOW = Date.now()
const DAY = 86_400_000
const validity = { notBefore: NOW - DAY, notAfter: NOW + 90 * DAY }

function open(name: string): Authority & { readonly certificate: string } {
  const { certificate, key } = issueAuthority(name, { notBefore: NOW - DAY, notAfter: Date.parse('2060-01-01T00:00:00Z') })
  return { name, publicKey: new X509Certificate(certificate).publicKey, privateKey: createPrivateKey(key), certificate }
}
const ours = open('mtafleet mail/receipts')

test('an authority may sign certificates and nothing else, and lasts as long as it says', () => {
  const { ca, subject, issuer, validTo } = new X509Certificate(ours.certificate)
  expect({ ca, subject, issuer, validTo, isSigned: new X509Certificate(ours.certificate).verify(ours.publicKey) }).toEqual({
    ca: true,
    subject: 'CN=mtafleet mail/receipts',
    issuer: 'CN=mtafleet mail/receipts',
    validTo: 'Jan  1 00:00:00 2060 GMT',
    isSigned: true,
  })
})

test('a certificate has the one name, both uses, and the signature of its authority', () => {
  const issued = new X509Certificate(issueCertificate(ours, 'receipts-0-a.receipts.mail.mtafleet', validity).certificate)
  expect({
    ca: issued.ca,
    names: issued.subjectAltName,
    uses: issued.keyUsage,
    issuedByOurs: issued.checkIssued(new X509Certificate(ours.certificate)),
    signed: issued.verify(ours.publicKey),
    notBefore: Date.parse(issued.validFrom),
  }).toEqual({
    ca: false,
    names: 'DNS:receipts-0-a.receipts.mail.mtafleet',
    uses: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
    issuedByOurs: true,
    signed: true,
    notBefore: Math.floor(validity.notBefore / 1000) * 1000,
  })
})

test('no two certificates have the same number', () => {
  const numbers = Array.from({ length: 20 }, () => new X509Certificate(issueCertificate(ours, 'a', validity).certificate).serialNumber)
  expect(new Set(numbers).size).toBe(20)
})

test('two instances of a stream talk to each other over TLS; one of another authority is refused', async () => {
  const peer = issueCertificate(ours, 'receipts-0-a.receipts.mail.mtafleet', validity)
  const server = createServer(
    { cert: peer.certificate, key: peer.key, ca: ours.certificate, requestCert: true, rejectUnauthorized: true },
    (socket) => socket.end('welcome'),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const greet = async (by: Authority): Promise<string> => {
    const { certificate, key } = issueCertificate(by, 'receipts-0-b.receipts.mail.mtafleet', validity)
    const { port } = server.address() as AddressInfo
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: 'receipts-0-a.receipts.mail.mtafleet',
      cert: certificate,
      key,
      ca: ours.certificate,
    })
    const said: string[] = []
    socket.on('data', (data: Buffer) => said.push(data.toString())).on('error', () => undefined)
    await once(socket, 'close')
    return said.join('')
  }
  expect([await greet(ours), await greet(open('mtafleet mail/receipts'))]).toEqual(['welcome', ''])
  server.close()
})
