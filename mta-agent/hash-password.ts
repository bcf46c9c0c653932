import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { formatPasswordHash, hashPassword } from './submission/password-hash.ts'

/** `npm run hash-password < FILE`: reads a password from standard input and prints the line for the AUTH Secret. */

const password = (await text(process.stdin)).replace(/\r?\n$/, '')
if (password === '') {
  console.error('standard input must have a password, had none')
  process.exitCode = 1
} else {
  console.log(formatPasswordHash(await hashPassword(password, randomBytes(16))))
}
