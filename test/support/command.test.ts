import { expect, test } from 'vitest'
import { CommandFailed, runCommand } from './command.ts'
import { waitFor, watchFor } from './wait.ts'

test('a command hears its input and the environment beside ours, and its standard output is the answer', async () => {
  const lines: string[] = []
  const options = { input: 'in', env: { COLOUR: 'red' }, cwd: '/', onLine: (line: string) => void lines.push(line) }
  expect(await runCommand(['sh', '-c', 'cat; echo " $COLOUR $PWD"; printf "one\\ntwo\\n" >&2'], options)).toBe('in red /\n')
  expect(lines.join(' ')).toContain('one')
})

test('a command that fails says which it was, how it ended and what it said', async () => {
  const failed = runCommand(['sh', '-c', 'echo why >&2; exit 3'])
  await expect(failed).rejects.toThrow('sh -c echo why >&2; exit 3 ended with status 3: why')
  await expect(failed).rejects.toMatchObject({ stdout: '', stderr: 'why\n' })
  await expect(failed).rejects.toThrow(CommandFailed)
})

test('a command that hangs is killed, and one that is not there is named', async () => {
  await expect(runCommand(['sleep', '60'], { timeoutMillis: 50 })).rejects.toThrow('sleep 60 did not end within 0.05 s')
  await expect(runCommand(['no-such-command'])).rejects.toThrow('no-such-command needs no-such-command, which was not found on PATH')
})

const fast = { withinMillis: 30, everyMillis: 1 }

test('waiting ends with the first answer, and says in vain what it waited for', async () => {
  let asked = 0
  expect(await waitFor('a fact', () => (asked++ < 2 ? false : 'fact'), fast)).toBe('fact')
  await expect(waitFor('a fact', () => undefined, fast)).rejects.toThrow('waited 0.03 s for a fact, in vain: not so yet')
  await expect(
    watchFor(
      'a fact',
      () => undefined,
      fast,
      () => 'it is away',
    ),
  ).rejects.toThrow('for a fact, in vain: it is away')
})

test('a probe that throws has not answered for waitFor, and ends watchFor', async () => {
  let asked = 0
  const probe = (): string => {
    if (asked++ === 0) throw new Error('refused')
    return 'fact'
  }
  expect(await waitFor('a fact', probe, fast)).toBe('fact')
  const never = (): string => {
    throw new Error('refused')
  }
  await expect(waitFor('a fact', never, fast)).rejects.toThrow('waited 0.03 s for a fact, in vain: refused')
  await expect(watchFor('a fact', never, fast)).rejects.toThrow(/^refused$/)
})
