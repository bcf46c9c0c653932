/** A count from a command line. Throws with what must be and what was. */
export function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`must be a whole number, was ${JSON.stringify(text)}`)
  return Number(text)
}
