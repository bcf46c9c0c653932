import { mustEqual, type Scenario } from './scenario.ts'
import type { Stage } from './stage.ts'

const INSTANCES = 3
const NO_IMAGE = 'localhost/mtafleet:no-such-tag'

export const scenario: Scenario = {
  name: 'image-rollout',
  promise:
    'an image goes over three instances one by one under load; one that cannot be pulled stops at the first, and the others serve on',
  needs: 'local',
  async run(stage) {
    await stage.deploy('rolled', { nodes: [1, 2, 3], primaries: INSTANCES })
    const mail = { connections: 6, perSecond: 80, perConnection: 20, domains: ['plain.example', 'starttls.example'] }
    const load = await stage.load('rolled', { ...mail, count: 4000 })
    await load.accepted(300)
    const image = await stage.otherImage()
    const before = (await stage.pods('rolled')).map((pod) => pod.metadata.uid)
    await setImage(stage, image)
    let fewestServing = INSTANCES
    await stage.waitFor('all Pods to be of the other image and Ready', 240_000, async () => {
      const serving = await servingPods(stage)
      fewestServing = Math.min(fewestServing, serving.length)
      return serving.length === INSTANCES && serving.every((pod) => pod.spec.containers[0]?.image === image)
    })
    await stage.ready('sendingstream', 'rolled', 60_000)
    mustEqual('fewest instances that served meanwhile', fewestServing, INSTANCES - 1)
    mustEqual(
      'Pods of before',
      (await stage.pods('rolled')).filter((pod) => before.includes(pod.metadata.uid)),
      [],
    )

    await setImage(stage, NO_IMAGE)
    await stage.waitFor('the first to lack its image', 120_000, async () => {
      const ready = await stage.condition('mtainstance', 'rolled-0-a', 'Ready')
      return ready?.status === 'False' && ready.message.includes(NO_IMAGE)
    })
    const loadWithout = await stage.load('rolled', { ...mail, count: 800 })
    const reportWithout = await loadWithout.finished()
    mustEqual('instances that serve beside the one without image', (await servingPods(stage)).map((pod) => pod.metadata.name).toSorted(), [
      'rolled-1-a',
      'rolled-2-a',
    ])
    await setImage(stage, image)
    await stage.ready('mtainstance', 'rolled-0-a', 120_000)
    await stage.ready('sendingstream', 'rolled', 60_000)
    const report = await load.finished()
    const verdicts = [await stage.allArrived('rolled', report), await stage.allArrived('rolled', reportWithout)]
    mustEqual(
      'duplicates',
      verdicts.map(({ duplicated }) => duplicated),
      [0, 0],
    )
    return {
      accepted: report.accepted.length,
      acceptedWithout: reportWithout.accepted.length,
      fewestServing,
      refusals: report.progress.deferred + reportWithout.progress.deferred,
    }
  },
}

const setImage = (stage: Stage, image: string): Promise<string> =>
  stage.kubectl('patch', 'sendingstream', 'rolled', '--type=merge', '-p', JSON.stringify({ spec: { agent: { image } } }))

const servingPods = async (stage: Stage) =>
  (await stage.pods('rolled')).filter(
    (pod) =>
      pod.metadata.deletionTimestamp === undefined &&
      pod.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true,
  )
