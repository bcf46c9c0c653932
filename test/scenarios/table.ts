/** What `kubectl get` prints: a header and a row for each object, in columns of equal width. */

export type Table = { readonly columns: readonly string[]; readonly rows: readonly Readonly<Record<string, string>>[] }

/** Columns begin where their names do; names have single blanks in them at most. Throws when there is no header. */
export function parseTable(text: string): Table {
  const [header = '', ...lines] = text.split('\n').filter((line) => line.trim() !== '')
  const names = [...header.matchAll(/\S+(?: \S+)*/g)].map((found) => ({ name: found[0], from: found.index }))
  if (names.length === 0) throw new Error(`a table must have a header, was ${JSON.stringify(text)}`)
  const rows = lines.map((line) =>
    Object.fromEntries(names.map(({ name, from }, index) => [name, line.slice(from, names[index + 1]?.from).trim()])),
  )
  return { columns: names.map(({ name }) => name), rows }
}
