import type { Failover, SendingStream } from '#crds/sending-stream.ts'

/** What a stream says about standbys. */

export const standbysOf = ({ spec }: SendingStream): number => spec.standbysPerPrimary

export const failoverOf = ({ spec }: SendingStream): Failover => spec.failover
