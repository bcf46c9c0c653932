import { scenario as addressesMove, withFast as addressesMoveFast } from './addresses-move.ts'
import { scenario as agentKilled } from './agent-killed.ts'
import { scenario as agentToken } from './agent-token.ts'
import { scenario as apiServerDown } from './api-server-down.ts'
import { scenario as bouncesReturn } from './bounces-return.ts'
import { scenario as diskFull } from './disk-full.ts'
import { scenario as failuresExplained } from './failures-explained.ts'
import { scenario as firstMail } from './first-mail.ts'
import { scenario as idle } from './idle.ts'
import { scenario as imageRollout } from './image-rollout.ts'
import { scenario as neighbours } from './neighbours.ts'
import { scenario as nodePowerCut } from './node-power-cut.ts'
import { scenario as operatorKilled } from './operator-killed.ts'
import { longScenario as pairApiFrozenForLong, scenario as pairApiFrozen } from './pair-api-frozen.ts'
import { withDefault as pairBackAndForth, withFast as pairBackAndForthFast } from './pair-back-and-forth.ts'
import { scenario as pairBacklogCut, withWrongAgent as pairBacklogCutWrongAgent } from './pair-backlog-cut.ts'
import { scenario as pairCuts } from './pair-cuts.ts'
import { scenario as pairOperatorAbsent } from './pair-operator-absent.ts'
import { scenario as pairPower } from './pair-power.ts'
import { scenario as pairSignals } from './pair-signals.ts'
import { scenario as pairCertificates } from './pair-certificates.ts'
import { scenario as pairDisks } from './pair-disks.ts'
import { scenario as pairDrain } from './pair-drain.ts'
import { longScenario as pairRebuiltLarge, scenario as pairRebuilt } from './pair-rebuilt.ts'
import { scenario as pairRecord } from './pair-record.ts'
import { scenario as pairStuck } from './pair-stuck.ts'
import { scenario as pairVolumes } from './pair-volumes.ts'
import { scenario as pairUpgrade } from './pair-upgrade.ts'
import { scenario as scaleUnderLoad } from './scale-under-load.ts'
import type { Scenario } from './scenario.ts'
import { scenario as secretRotated } from './secret-rotated.ts'
import { scenario as specChangeUnderLoad } from './spec-change-under-load.ts'
import { scenario as streamDeleted } from './stream-deleted.ts'
import { scenario as twoStandbys } from './two-standbys.ts'

/** All scenarios, the gentle ones first: what breaks early is the cheapest to look at. */
export const SCENARIOS: readonly Scenario[] = [
  firstMail,
  neighbours,
  bouncesReturn,
  agentToken,
  failuresExplained,
  idle,
  specChangeUnderLoad,
  imageRollout,
  scaleUnderLoad,
  streamDeleted,
  secretRotated,
  agentKilled,
  diskFull,
  operatorKilled,
  nodePowerCut,
  pairPower,
  pairSignals,
  pairCuts,
  pairBacklogCut,
  pairBacklogCutWrongAgent,
  pairOperatorAbsent,
  pairApiFrozen,
  pairApiFrozenForLong,
  pairBackAndForth,
  pairBackAndForthFast,
  addressesMove,
  addressesMoveFast,
  twoStandbys,
  pairDrain,
  pairUpgrade,
  pairCertificates,
  pairDisks,
  pairRebuilt,
  pairRebuiltLarge,
  pairStuck,
  pairRecord,
  pairVolumes,
  apiServerDown,
]

/** What `npm test` and --all play. */
export const EVERY_TIME = SCENARIOS.filter(({ occasion }) => occasion !== 'byName')
