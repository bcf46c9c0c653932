import { expect, test } from 'vitest'
import { fillIn, shellBlocks, withNames } from './page.ts'

const PAGE = `# A page

\`\`\`sh
kubectl get nodes
\`\`\`

## It is gone

Words.

\`\`\`sh
kubectl -n mail get mtai bulk-0-b
\`\`\`

\`\`\`yaml
kind: Lease
\`\`\`

\`\`\`sh
WHO=nobody AGE=1
echo "$WHO"
\`\`\`

## It is gone again

Nothing to do.
`

test('a section has its own shell blocks and no others, what stands before the first one too', () => {
  expect(shellBlocks(PAGE, 'A page')).toEqual(['kubectl get nodes\n'])
  expect(shellBlocks(PAGE, 'It is gone')).toEqual(['kubectl -n mail get mtai bulk-0-b\n', 'WHO=nobody AGE=1\necho "$WHO"\n'])
})

test.each([
  ['It was never there', 'the page must have a section "It was never there", has none'],
  ['It is gone again', 'section "It is gone again" must have a shell block, has none'],
])('a page without commands under "%s" is refused', (heading, error) => {
  expect(() => shellBlocks(PAGE, heading)).toThrow(error)
})

test('names of the page become those of the stage, whole words only', () => {
  const words = { 'bulk-0-a': 'bulk-0-b', 'bulk-0-b': 'bulk-0-a', 'bulk-0-b-queue': 'bulk-0-a-queue' }
  expect(withNames('kubectl -n mail get mtai/bulk-0-a pvc/bulk-0-b-queue bulk-0-b-queue-2 lease/bulk-0', { namespace: 's-x', words })).toBe(
    'kubectl -n s-x get mtai/bulk-0-b pvc/bulk-0-a-queue bulk-0-b-queue-2 lease/bulk-0',
  )
})

test('variables are filled in, and one that is not there is an error', () => {
  expect(fillIn('WHO=nobody AGE=1\necho "$WHO"\n', { AGE: '7', WHO: 'ann' })).toBe('WHO=ann AGE=7\necho "$WHO"\n')
  expect(() => fillIn('WHO=nobody\n', { HO: 'ann' })).toThrow('the block must set HO, does not')
})
