import type { ProfileName } from './profiles.ts'

/** Something done wrong, as edits of a copy of the sources: of the modules, or of the simulation's shell where the shell keeps the rule. */
export type Mutation = {
  readonly wrong: string
  readonly edits: readonly Edit[]
  /** The trouble that it needs; without it the seeds pick theirs. */
  readonly profile?: ProfileName
}

/** `file` is seen from the folder of the modules. `from` must be there exactly once. */
export type Edit = { readonly file: string; readonly from: string; readonly to: string }

export const edit = (file: string, from: string, to: string): Edit => ({ file, from, to })
export const standby = (from: string, to: string): Edit => edit('standby.ts', from, to)
export const primary = (from: string, to: string): Edit => edit('primary.ts', from, to)
