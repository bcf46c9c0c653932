import { expect, test } from 'vitest'
import { linkRules } from './cuts.ts'
import { parseSize, planNode } from './plan.ts'

test('a cut link drops every address of the other node and its Pods, both ways', () => {
  const rules = linkRules(planNode(2, parseSize({})))
  const v4 = '{ 10.77.0.12, 10.88.2.0/24, 192.0.2.21, 192.0.2.22, 192.0.2.23, 192.0.2.24 }'
  const v6 = '{ fd77::12, 2001:db8:0:2::1, 2001:db8:0:2::2, 2001:db8:0:2::3, 2001:db8:0:2::4 }'
  const from = `ip saddr ${v4} drop; ip6 saddr ${v6} drop;`
  const to = `ip daddr ${v4} drop; ip6 daddr ${v6} drop;`
  expect(
    rules
      .trim()
      .split('\n')
      .map((line) => line.trim()),
  ).toEqual([
    'table inet mtafleet_cut_from_node2 {',
    `chain from_there { type filter hook input priority filter; ${from} }`,
    `chain to_there { type filter hook output priority filter; ${to} }`,
    `chain of_pods { type filter hook forward priority filter; ${from} ${to} }`,
    '}',
  ])
})
