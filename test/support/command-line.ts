import { parseArgs, type ParseArgsConfig } from 'node:util'

/** What is wrong with a command line, in one line; ends the process with status 2. Who mistypes has no use for a stack. */
export function refuseCommandLine(complaint: string): never {
  process.stderr.write(`${complaint}\n`)
  process.exit(2)
}

/** As parseArgs, which throws; an option that is unknown or lacks its value is refused instead. */
export function parseOptions<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config)
  } catch (error) {
    if (!(error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))) throw error
    return refuseCommandLine(error.message)
  }
}

/** A count that an option names. */
export function wholeNumber(option: string, text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text)
  return refuseCommandLine(`${option} must be a whole number that is at least 1, was ${JSON.stringify(text)}`)
}
