import { expect, test } from 'vitest'
import { ANNOTATIONS } from '#crds/group.ts'
import { NO_REQUESTS, planRequests } from './shard-requests.ts'

const switchover = (epoch: string) => ({ [ANNOTATIONS.switchover]: epoch })
const promote = (text: string) => ({ [ANNOTATIONS.promoteGranted]: text })

test('a switchover is asked for once, by the one who leads that epoch', () => {
  const first = planRequests(NO_REQUESTS, switchover('7'), 7)
  expect(first).toEqual({ asked: { switchover: '7', promotion: undefined }, switchover: 7 })
  expect(planRequests(first.asked, switchover('7'), 7)).toEqual({ asked: first.asked })
  expect(planRequests(first.asked, switchover('9'), 9)).toMatchObject({ switchover: 9 })
})

test('a switchover that was refused is asked for again, as long as its annotation stands and its epoch is led', () => {
  const { asked } = planRequests(NO_REQUESTS, switchover('7'), 7)
  expect(planRequests(asked, switchover('7'), 7, true)).toEqual({ asked, switchover: 7 })
  expect(planRequests(asked, {}, 7, true)).toEqual({ asked })
  expect(planRequests(asked, switchover('7'), 8, true)).toEqual({ asked })
})

test('a switchover of another reign waits until that is led, and may never be', () => {
  const before = planRequests(NO_REQUESTS, switchover('7'), undefined)
  expect(before).toEqual({ asked: NO_REQUESTS })
  expect(planRequests(before.asked, switchover('7'), 6)).toEqual({ asked: NO_REQUESTS })
  expect(planRequests(before.asked, switchover('7'), 7)).toMatchObject({ switchover: 7 })
})

test('only a promotion that the operator granted counts, once for each version of the record', () => {
  expect(planRequests(NO_REQUESTS, { [ANNOTATIONS.promote]: '4711' }, undefined)).toEqual({ asked: NO_REQUESTS })
  const first = planRequests(NO_REQUESTS, promote('4711 incomplete'), undefined)
  expect(first.force).toEqual({ recordVersion: '4711', incompleteToo: true })
  expect(planRequests(first.asked, promote('4711 incomplete'), undefined)).toEqual({ asked: first.asked })
  expect(planRequests(first.asked, promote('4712'), undefined).force).toEqual({ recordVersion: '4712', incompleteToo: false })
})

test('what cannot be read asks for nothing', () => {
  expect(planRequests(NO_REQUESTS, { ...switchover('soon'), ...promote('now') }, 1)).toEqual({ asked: NO_REQUESTS })
  expect(planRequests(NO_REQUESTS, undefined, 1)).toEqual({ asked: NO_REQUESTS })
})
