import type { SendingStream } from '#crds/sending-stream.ts'

/** What a stream says about standbys. None unless it asks for them. */

export type FailoverWishes = {
  readonly timing: 'Default' | 'Fast'
  readonly durability: 'Strict' | 'Available'
  readonly nodeLossPolicy: 'Wait' | 'Replace'
}

export type StandbyWishes = { readonly standbysPerPrimary?: number; readonly failover?: Partial<FailoverWishes> }

const wishesOf = ({ spec }: SendingStream): StandbyWishes => spec as SendingStream['spec'] & StandbyWishes

export const standbysOf = (stream: SendingStream): number => wishesOf(stream).standbysPerPrimary ?? 0

export const failoverOf = (stream: SendingStream): FailoverWishes => ({
  timing: 'Default',
  durability: 'Available',
  nodeLossPolicy: 'Wait',
  ...wishesOf(stream).failover,
})
