/** Kubernetes quantities (`250m`, `1.5Gi`, `2e3`), as far as they must be compared. Never through floating point. */

const FACTOR: Readonly<Record<string, readonly [bigint, bigint]>> = {
  n: [1n, 1_000_000_000n],
  u: [1n, 1_000_000n],
  m: [1n, 1000n],
  '': [1n, 1n],
  k: [1000n, 1n],
  M: [1000n ** 2n, 1n],
  G: [1000n ** 3n, 1n],
  T: [1000n ** 4n, 1n],
  P: [1000n ** 5n, 1n],
  E: [1000n ** 6n, 1n],
  Ki: [1024n, 1n],
  Mi: [1024n ** 2n, 1n],
  Gi: [1024n ** 3n, 1n],
  Ti: [1024n ** 4n, 1n],
  Pi: [1024n ** 5n, 1n],
  Ei: [1024n ** 6n, 1n],
}
const QUANTITY =
  /^(?<sign>[+-]?)(?<whole>[0-9]*)(?:\.(?<part>[0-9]*))?(?:(?<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?<exponent>[+-]?[0-9]{1,2}))?$/

const NANO = 1_000_000_000n

/** In billionths, rounded up as Kubernetes does; throws RangeError when it is no quantity. `1Gi` → 1073741824000000000n. */
export function parseQuantity(text: string): bigint {
  if (!isQuantity(text)) throw new RangeError(`must be a quantity (250m, 20Gi), was "${text}"`)
  const { sign, whole = '', part = '', suffix, exponent } = QUANTITY.exec(text)?.groups ?? {}
  const [times, per] = scaleOf(suffix, exponent)
  const numerator = BigInt(whole + part) * times * NANO
  const denominator = 10n ** BigInt(part.length) * per
  const size = (numerator + denominator - 1n) / denominator
  return sign === '-' ? -size : size
}

function scaleOf(suffix: string | undefined, exponent: string | undefined): readonly [bigint, bigint] {
  if (exponent === undefined) return FACTOR[suffix ?? ''] ?? [1n, 1n]
  const power = BigInt(exponent)
  return power >= 0n ? [10n ** power, 1n] : [1n, 10n ** -power]
}

export function isQuantity(text: string): boolean {
  return QUANTITY.test(text) && /[0-9]/.test(text.replace(/[eE].*/, ''))
}

export function compareQuantities(a: string, b: string): number {
  const [left, right] = [parseQuantity(a), parseQuantity(b)]
  if (left === right) return 0
  return left < right ? -1 : 1
}
