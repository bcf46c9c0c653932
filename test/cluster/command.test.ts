import { expect, test } from 'vitest'
import { USAGE, parseCommand } from './command.ts'

test.each([
  ['', { kind: 'help', text: USAGE }],
  ['--help', { kind: 'help', text: USAGE }],
  ['up', { kind: 'up', size: {} }],
  ['up --nodes 2 --volume-mebibytes=64', { kind: 'up', size: { nodes: 2, volumeMebibytes: 64 } }],
  ['down', { kind: 'down' }],
  ['status', { kind: 'status' }],
  ['env', { kind: 'env' }],
  ['recycle', { kind: 'recycle' }],
  ['load image.tar', { kind: 'load', tar: 'image.tar' }],
  ['power-off node2', { kind: 'power-off', node: 'node2' }],
  ['power-on 2', { kind: 'power-on', node: '2' }],
  ['cut node1', { kind: 'cut', node: 'node1' }],
  ['heal node1', { kind: 'heal', node: 'node1' }],
  ['cut-from-api node1', { kind: 'cut-from-api', node: 'node1' }],
  ['heal-from-api node1', { kind: 'heal-from-api', node: 'node1' }],
  ['cut-between node1 2', { kind: 'cut-between', nodes: ['node1', '2'] }],
  ['heal-between node1 node2', { kind: 'heal-between', nodes: ['node1', 'node2'] }],
])('%j is understood', (line, want) => {
  expect(parseCommand(line.split(' ').filter(Boolean))).toEqual(want)
})

test.each([
  ['start', `unknown command "start"\n${USAGE}`],
  ['down now', 'down takes nothing more, was given "now"'],
  ['power-off', 'power-off takes a node, was given ""'],
  ['cut node1 node2', 'cut takes a node, was given "node1 node2"'],
  ['load', 'load takes the path of an image archive, was given ""'],
  ['cut-between node1', 'cut-between takes two nodes, was given "node1"'],
  ['heal-between 1 2 3', 'heal-between takes two nodes, was given "1 2 3"'],
  ['up --nodes ten', 'nodes must be an integer from 1 to 9, was "ten"'],
  ['up --nodes=0', 'nodes must be an integer from 1 to 9, was "0"'],
])('%j is refused with what must be', (line, message) => {
  expect(() => parseCommand(line.split(' '))).toThrow(message)
})

test('an option that up does not know is refused', () => {
  expect(() => parseCommand(['up', '--size', '3'])).toThrow("Unknown option '--size'")
})
