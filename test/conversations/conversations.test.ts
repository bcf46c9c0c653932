import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { parseNetworks } from '#agent/submission/networks.ts'
import { parseTranscript, play, type Transcript } from './play.ts'
import { makeCertificate, openStage, type Staged } from './stage.ts'

/** Every transcript of this folder is a promise of submission, played against the real listener on loopback. */
const files = globSync('*.txt', { cwd: import.meta.dirname }).toSorted()
const certificate = await makeCertificate('mta.example')

test.each(files)('%s', { timeout: 30_000 }, async (file) => {
  const transcript = parseTranscript(readFileSync(`${import.meta.dirname}/${file}`, 'utf8'))
  expect(transcript.promise, `${basename(file)} must begin with what it promises`).not.toBe('')
  await using stage = await openStage(stageFor(transcript))
  const security = transcript.options['security'] === 'tls' ? 'tls' : 'clear'
  const { ports } = stage.submission
  const stopping: Promise<void>[] = []
  const wrong = await play(transcript, {
    port: security === 'tls' ? ports.submissions! : ports.submission,
    security,
    stored: () => stage.queue.stored,
    act: (word) => act(stage, word, stopping),
  })
  expect(wrong).toEqual([])
  await Promise.all(stopping)
})

function stageFor({ options }: Transcript) {
  return {
    settings: {
      ...(options['allowed networks'] === 'none' ? { allowedNetworks: parseNetworks(['192.0.2.0/24']) } : {}),
      ...(options['max recipients'] === undefined ? {} : { maxRecipients: Number(options['max recipients']) }),
    },
    ...(options['users'] === 'yes' ? { users: { user: 'secret' } } : {}),
    ...(options['certificate'] === 'yes' ? { certificate } : {}),
  }
}

function act(stage: Staged, word: string, stopping: Promise<void>[]): Promise<void> {
  const acts: Record<string, () => void> = {
    'disk full': () => (stage.queue.state = 'full'),
    'disk full on append': () => (stage.queue.state = 'full on append'),
    'disk broken': () => (stage.queue.state = 'broken'),
    'disk freed': () => (stage.queue.state = 'works'),
    'mode Run': () => (stage.settings = { ...stage.settings, mode: 'Run' }),
    'mode Hold': () => (stage.settings = { ...stage.settings, mode: 'Hold' }),
    'mode Drain': () => (stage.settings = { ...stage.settings, mode: 'Drain' }),
    'no standby in sync': () => (stage.queue.state = 'NoStandbyInSync'),
    'another took over': () => (stage.queue.state = 'NotPrimary'),
    'gate closed': () => {
      stage.gate = { code: 421, enhanced: '4.3.2', text: 'this instance is a standby; try again' }
      stage.submission.interrupt()
    },
    stop: () => stopping.push(stage.submission.drain(AbortSignal.timeout(10_000))),
  }
  if (acts[word] === undefined) throw new Error(`must be one of ${Object.keys(acts).join(', ')}, was ${word}`)
  acts[word]()
  return Promise.resolve()
}
