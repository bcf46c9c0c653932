import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeliveryOutcome } from '#agent/domain/delivery-outcome.ts'
import type { Domain, Envelope, Recipient } from '#agent/domain/envelope.ts'
import { openLmdbQueueStore, type LmdbStoreOptions } from '#agent/queue/lmdb-queue-store.ts'
import type { LogQueueStore } from '#agent/queue/log-queue.ts'
import type { NewMessage } from '#agent/queue/queue-store.ts'

/** Builders for the queue: valid by default, a test writes only what is different. */

export const NOON = Date.UTC(2026, 0, 5, 12)

export const recipient = (address: string, rest: Partial<Recipient> = {}): Recipient => ({
  address,
  domain: address.slice(address.lastIndexOf('@') + 1) as Domain,
  ...rest,
})

export const envelope = (...recipients: readonly string[]): Envelope => ({
  sender: 'news@sender.example',
  recipients: recipients.map((address) => recipient(address)),
  body: '8BITMIME',
  smtpUtf8: false,
})

export const message = (recipients: readonly string[] = ['ann@one.example'], differences: Partial<NewMessage> = {}): NewMessage => ({
  envelope: envelope(...recipients),
  content: Buffer.from('Subject: hello\r\n\r\nhello\r\n'),
  acceptedAt: NOON,
  ...differences,
})

export const delivered: DeliveryOutcome = { kind: 'delivered', reply: { code: 250, enhanced: '2.0.0', text: 'ok' } }
export const deferred: DeliveryOutcome = { kind: 'deferred', reply: { code: 451, enhanced: '4.7.1', text: 'later' }, scope: 'recipient' }
export const bounced: DeliveryOutcome = {
  kind: 'bounced',
  reply: { code: 550, enhanced: '5.1.1', text: 'no such user' },
  because: 'Refused',
}

export type TemporaryDirectory = Disposable & { readonly path: string }

export function temporaryDirectory(): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), 'mtafleet-queue-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** A broken store fails the test that did not expect it: the error comes out of whatever was awaited, and of the next run of the loop. */
export const openQueue = (directory: string, differences: Partial<LmdbStoreOptions> = {}): Promise<LogQueueStore> =>
  openLmdbQueueStore({
    directory,
    shard: { stream: 'news', shard: 0 },
    clock: () => NOON,
    reserveBytes: 0,
    onBroken: (error) => {
      throw error
    },
    ...differences,
  })
