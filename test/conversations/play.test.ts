import { expect, test } from 'vitest'
import { matches, parseTranscript, play } from './play.ts'
import { openStage } from './stage.ts'

async function playText(text: string): Promise<string[]> {
  await using stage = await openStage()
  const { submission, queue } = stage
  return await play(parseTranscript(`# test\n${text}`), {
    port: submission.ports.submission,
    security: 'clear',
    stored: () => queue.stored,
    act: () => Promise.resolve(),
  })
}

test('… stands for anything, all else for itself', () => {
  expect([matches('250 …ok', '250 2.1.0 sender ok'), matches('250 a.c', '250 abc'), matches('250', '250 ok')]).toEqual([true, false, false])
})

test('a reply other than written is told with its line', async () => {
  expect(await playText('S: 220 mta.example ESMTP\nC: NOOP\nS: 250 …\nC: RCPT TO:<a@example.com>\nS: 250 …')).toEqual([
    'line 6: must be 250 …, was 503 5.5.1 Error: send HELO/EHLO first',
  ])
})

test('a message that is missing, or one too many, is told', async () => {
  expect(await playText('S: 220 …\nSTORED: a@example.com -> b@example.org')).toEqual([
    'line 3: must be STORED a@example.com -> b@example.org, was undefined',
  ])
})

test('a line that is no step is an error of the transcript', () => {
  expect(() => parseTranscript('# x\nS: 220\nX: 1')).toThrow('line 3 is no step of a transcript: X: 1')
})
