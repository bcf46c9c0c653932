import { secret } from '#test/builders/manifests.ts'
import { mustEqual, type Scenario } from './scenario.ts'

export const scenario: Scenario = {
  name: 'secret-rotated',
  promise: 'a new certificate and a new password are taken up under load, without a restart and without a lost message',
  needs: 'local',
  async run(stage) {
    await stage.deploy('rotated', { nodes: [1] })
    const before = await stage.podIdentities('rotated')
    const load = await stage.load('rotated', { count: 4000, connections: 4, perSecond: 40, domains: ['plain.example'], perConnection: 10 })
    await load.accepted(100)

    const started = performance.now()
    const next = await stage.issueCertificate('rotated')
    await stage.apply(secret('rotated-tls', { 'tls.crt': next.certificate, 'tls.key': next.key }, 'kubernetes.io/tls'))
    await stage.waitFor(
      'the new certificate to be served',
      180_000,
      async () => (await stage.servedFingerprint('rotated')) === next.fingerprint,
    )
    const certificateMillis = Math.round(performance.now() - started)

    // The old password stays valid beside the new user until clients have moved: that is how a rotation is done.
    await stage.addUser('second-user', 'another-password')
    await stage.waitFor('the new user to be let in', 180_000, () =>
      stage.letsIn('rotated', { user: 'second-user', password: 'another-password' }),
    )
    load.stop()
    const report = await load.finished()
    const verdict = await stage.allArrived('rotated', report)
    mustEqual('duplicates', verdict.duplicated, 0)
    mustEqual('Pods and restarts', await stage.podIdentities('rotated'), before)
    return { accepted: report.accepted.length, arrived: verdict.arrived, certificateMillis }
  },
}
