import { expect, test } from 'vitest'
import { parseTable } from './table.ts'

test('cells stand below the names of their columns, empty ones too', () => {
  const text = [
    'NAME       READY   IN SYNC                    LAG   AGE',
    'bulk-0-a   True    ["bulk-0-a","bulk-0-b"]    0     3m',
    'bulk-0-b   False                                    3m',
    '',
  ].join('\n')
  expect(parseTable(text)).toEqual({
    columns: ['NAME', 'READY', 'IN SYNC', 'LAG', 'AGE'],
    rows: [
      { NAME: 'bulk-0-a', READY: 'True', 'IN SYNC': '["bulk-0-a","bulk-0-b"]', LAG: '0', AGE: '3m' },
      { NAME: 'bulk-0-b', READY: 'False', 'IN SYNC': '', LAG: '', AGE: '3m' },
    ],
  })
})

test('what has no header is no table', () => {
  expect(() => parseTable('\n')).toThrow('a table must have a header')
})
