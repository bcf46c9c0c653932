/**
 * Cuts of single links, as packet filters in the nodes' own networks: what is cut is dropped silently, as by a broken switch, and open connections
 * fall silent with it. A cut goes with the node's power.
 */
import { runCommand } from '#test/support/command.ts'
import { API_PORT, type NodePlan, WORLD_ADDRESS } from './plan.ts'
import { inNamespace } from './processes.ts'

/** Drops what goes between a node (its Pods included) and the API server, both ways; open connections fall silent. All else flows. */
export async function cutApi(node: NodePlan): Promise<void> {
  await applyRules(node, withoutTable(API_CUT) + API_RULES)
}

export async function healApi(node: NodePlan): Promise<void> {
  await applyRules(node, withoutTable(API_CUT))
}

/** Drops what goes between two nodes (their Pods included). Each has a filter of its own, so the cut lasts when one of them boots anew. */
export async function cutLink(node: NodePlan, other: NodePlan): Promise<void> {
  await Promise.all([
    applyRules(node, withoutTable(linkTable(other)) + linkRules(other)),
    applyRules(other, withoutTable(linkTable(node)) + linkRules(node)),
  ])
}

export async function healLink(node: NodePlan, other: NodePlan): Promise<void> {
  await Promise.all([applyRules(node, withoutTable(linkTable(other))), applyRules(other, withoutTable(linkTable(node)))])
}

const API_CUT = 'inet mtafleet_api_cut'

const API_RULES = `
  table ${API_CUT} {
    chain to_api_from_node { type filter hook output priority filter; ip daddr ${WORLD_ADDRESS} tcp dport ${API_PORT} drop; }
    chain to_api_from_pods { type filter hook forward priority filter; ip daddr ${WORLD_ADDRESS} tcp dport ${API_PORT} drop; }
    chain from_api { type filter hook input priority filter; ip saddr ${WORLD_ADDRESS} tcp sport ${API_PORT} drop; ip saddr ${WORLD_ADDRESS} tcp dport 10250 drop; }
  }
`

const linkTable = (other: NodePlan): string => `inet mtafleet_cut_from_${other.name}`

/** For the filter of a node: drops all that comes from another node or one of its Pods, or goes there. Pure. */
export function linkRules(other: NodePlan): string {
  const [v6, v4] = [
    [other.addressV6, ...other.sourceAddresses.filter(isV6)],
    [other.address, other.podSubnet, ...other.sourceAddresses.filter((one) => !isV6(one))],
  ]
  const drop = (direction: 'saddr' | 'daddr') => `ip ${direction} { ${v4.join(', ')} } drop; ip6 ${direction} { ${v6.join(', ')} } drop;`
  return `
  table ${linkTable(other)} {
    chain from_there { type filter hook input priority filter; ${drop('saddr')} }
    chain to_there { type filter hook output priority filter; ${drop('daddr')} }
    chain of_pods { type filter hook forward priority filter; ${drop('saddr')} ${drop('daddr')} }
  }
`
}

const isV6 = (address: string): boolean => address.includes(':')

/** Adding it first makes deleting it right whether it was there or not. */
const withoutTable = (table: string): string => `add table ${table}\ndelete table ${table}\n`

async function applyRules(node: NodePlan, rules: string): Promise<void> {
  await runCommand([...inNamespace(node.namespace), 'nft', '-f', '-'], { input: rules })
}
