import { must, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'agent-token',
  promise: "an agent's own token reads no Secret, touches no other stream's objects, and changes no spec",
  needs: 'any',
  async run(stage) {
    await stage.deploy('mine', { nodes: [1] })
    await stage.deploy('other', { nodes: [2] })
    const token = (await stage.kubectl('create', 'token', 'mine-agent', '--duration=10m')).trim()
    const attempts: readonly (readonly [allowed: boolean, ...args: string[]])[] = [
      [true, 'get', 'mtainstance', 'mine-0-a'],
      // The agent patches by one call; kubectl would want to read the subresource first.
      [true, 'auth', 'can-i', 'patch', 'mtainstances/mine-0-a', '--subresource=status'],
      [false, 'get', 'secret', 'submission-users'],
      [false, 'get', 'secrets'],
      [false, 'get', 'secret', 'mine-tls'],
      [false, 'get', 'mtainstance', 'other-0-a'],
      [false, 'get', 'mtainstances'],
      [false, 'patch', 'mtainstance', 'other-0-a', '--subresource=status', '--type=merge', '-p', '{"status":{"agent":{"version":"x"}}}'],
      [false, 'patch', 'mtainstance', 'mine-0-a', '--type=merge', '-p', '{"spec":{"mode":"Hold"}}'],
      [false, 'delete', 'mtainstance', 'mine-0-a'],
      [false, 'get', 'sendingstream', 'mine'],
      [false, 'get', 'pods'],
      [false, 'get', 'nodes'],
      [false, 'create', 'token', 'mine-agent'],
    ]
    let refused = 0
    for (const [allowed, ...args] of attempts) {
      const answer = await stage.tryAs(token, ...args)
      const words = `${args.slice(0, 3).join(' ')} with the agent's token`
      must(
        answer.ok === allowed,
        `${words} must be ${allowed ? 'allowed' : 'refused'}, was ${answer.ok ? 'allowed' : `refused: ${answer.stderr.trim()}`}`,
      )
      if (!answer.ok) {
        must(/forbidden/i.test(answer.stderr), `${words} must be refused as forbidden, was ${answer.stderr.trim()}`)
        refused += 1
      }
    }
    return { allowed: attempts.length - refused, refused }
  },
}
