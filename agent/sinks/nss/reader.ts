/**
 * Reads the files as libnss-cache and glibc do, and shares no code with what writes them: the sink's proof before a
 * swap, and the tests' reader. From nss_cache.c (0.18): the index is searched by strcmp; the data is parsed from the
 * entry's offset, skipping blank lines, comments and what does not parse; another record than the wanted one means a
 * scan of the whole file; nothing at all until the end aborts the caller.
 */

/** The three maps, and which field each of their indexes is over. */
export type MapName = "passwd" | "shadow" | "group";

export type Answer =
  | { readonly kind: "found"; readonly line: string }
  | { readonly kind: "not-found" }
  | { readonly kind: "abort"; readonly because: string };

/**
 * Looks a key up as getpwnam, getpwuid and the like would.
 * @param index undefined or empty: there is none, the data is scanned.
 * @param field 0 for the name, 2 for the id.
 */
export function lookUp(map: MapName, data: Buffer, index: Buffer | undefined, key: string, field: 0 | 2): Answer {
  if (!index || index.length === 0) return scan(map, data, key, field);
  const offset = offsetIn(index, key);
  if (offset === undefined) return { kind: "not-found" };
  if (offset >= data.length) return { kind: "abort", because: `offset ${offset} is past the end` };
  const first = linesFrom(map, data, offset).next();
  if (first.done) return { kind: "abort", because: `nothing parses from offset ${offset}` };
  return first.value.split(":")[field] === key ? { kind: "found", line: first.value } : scan(map, data, key, field);
}

/** Every record that an enumeration (getpwent) gives. */
export function enumerate(map: MapName, data: Buffer): string[] {
  return [...linesFrom(map, data, 0)];
}

function scan(map: MapName, data: Buffer, key: string, field: 0 | 2): Answer {
  for (const line of linesFrom(map, data, 0)) if (line.split(":")[field] === key) return { kind: "found", line };
  return { kind: "not-found" };
}

/** The offset that an index gives for a key, found as libnss-cache does. */
export function offsetIn(index: Buffer, key: string): number | undefined {
  const width = index.indexOf(0x0a) + 1;
  const wanted = Buffer.from(`${key}\0`, "latin1");
  let low = 0;
  let high = Math.floor(index.length / width);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = middle * width;
    // As strcmp does: up to the NUL behind the key.
    const order = wanted.compare(index, at, Math.min(at + wanted.length, at + width));
    if (order === 0) return Number.parseInt(index.toString("latin1", at + wanted.length, at + width), 10);
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return undefined;
}

/** The lines that fgetpwent and the like would give, from an offset on: what does not parse is passed over. */
function* linesFrom(map: MapName, data: Buffer, offset: number): Generator<string> {
  for (let at = offset; at < data.length; ) {
    const found = data.indexOf(0x0a, at);
    const end = found < 0 ? data.length : found;
    const line = data.toString("utf8", at, end).trimStart();
    if (line !== "" && !line.startsWith("#") && parses(map, line)) yield line;
    at = end + 1;
  }
}

/** glibc's own, lenient idea of a record. */
function parses(map: MapName, line: string): boolean {
  const fields = line.split(":");
  const numbers = { passwd: [2, 3], shadow: [], group: [2] }[map];
  return fields.length > 1 && numbers.every((field) => /^[0-9]+$/.test(fields[field] ?? ""));
}
