import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { parseTranscript, play } from './play.ts'
import { openStage } from './stage.ts'

/** Every transcript of this folder is a promise of submission, played against the real listener on loopback. */
const files = globSync('*.txt', { cwd: import.meta.dirname }).toSorted()

test.each(files)('%s', async (file) => {
  const transcript = parseTranscript(readFileSync(`${import.meta.dirname}/${file}`, 'utf8'))
  expect(transcript.promise, `${basename(file)} must begin with what it promises`).not.toBe('')
  await using stage = await openStage({})
  const wrong = await play(transcript, {
    port: stage.submission.ports.submission,
    security: 'clear',
    stored: () => stage.queue.stored,
    act: () => Promise.resolve(),
  })
  expect(wrong).toEqual([])
})
