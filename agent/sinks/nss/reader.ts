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
  const offset = search(index, key);
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

/**
 * Checks a whole data file and its indexes.
 * @throws Error saying which line or entry is wrong.
 */
export function checkStructure(
  map: MapName,
  data: Buffer,
  indexes: readonly { readonly index: Buffer; readonly field: 0 | 2 }[],
): void {
  const records = checkLines(map, data);
  for (const { index, field } of indexes) {
    const count = checkEntries(data, index, field);
    if (count !== records) throw new Error(`an index of ${map} has ${count} entries for ${records} records`);
  }
}

/** Counts the records, less the sentinel, of a file in which each line must be a record or a comment. */
function checkLines(map: MapName, data: Buffer): number {
  let records = 0;
  let ended = false;
  for (let at = 0; at < data.length; ) {
    const end = data.indexOf(0x0a, at);
    if (end < 0) throw new Error(`${map}: the last line has no end`);
    if (end > at && data[at] !== 0x23) {
      // Bytes as characters: what is UTF-8 was parsed at the door, here only the fields' bounds matter.
      const line = data.toString("latin1", at, end);
      if (ended) throw new Error(`${map}: a record follows the sentinel`);
      if (at % 64 !== 0) throw new Error(`${map}: the record at ${at} is not at a multiple of 64`);
      if (line.startsWith("rollcall.end:*:")) ended = true;
      else if (strict[map].test(line)) records++;
      else throw new Error(`${map}: the line at ${at} is no record of ours`);
    }
    at = end + 1;
  }
  if (!ended) throw new Error(`${map}: the sentinel is missing`);
  return records;
}

/** Counts the entries of an index in which each must name a larger key than the last, and hit that key's record. */
function checkEntries(data: Buffer, index: Buffer, field: 0 | 2): number {
  const width = index.indexOf(0x0a) + 1;
  if (index.length === 0) return 0;
  if (index.length % width !== 0) throw new Error("an index is not made of entries of one width");
  let last = "";
  for (let at = 0; at < index.length; at += width) {
    const middle = index.indexOf(0, at);
    const key = index.toString("latin1", at, middle);
    const start = Number.parseInt(index.toString("latin1", middle + 1, at + width - 1), 10);
    if (!(key > last)) throw new Error(`an index has ${key} behind ${last}`);
    if (start % 64 !== 0 || (start > 0 && data[start - 1] !== 0x0a)) throw new Error(`${key} is not at a line's start`);
    let from = start;
    for (let colons = 0; colons < field; colons++) from = data.indexOf(0x3a, from) + 1;
    if (from >= start + 64 || data.toString("latin1", from, from + key.length + 1) !== `${key}:`) {
      throw new Error(`the index entry of ${key} hits another record`);
    }
    last = key;
  }
  return index.length / width;
}

const name = "[a-z_][a-z0-9_-]{0,30}";
const id = "[1-9][0-9]{3,9}";
const strict: Record<MapName, RegExp> = {
  passwd: new RegExp(`^${name}:x:${id}:${id}:[^:\\x00-\\x1f\\x7f]{0,128}:/[!-9;-~]{1,199}:/[!-9;-~]{1,63}$`),
  shadow: new RegExp(`^${name}:\\*:[0-9]{5}:0:99999:7::1?:$`),
  group: new RegExp(`^${name}:x:${id}:(${name}(,${name})*)?$`),
};

function scan(map: MapName, data: Buffer, key: string, field: 0 | 2): Answer {
  for (const line of linesFrom(map, data, 0)) if (line.split(":")[field] === key) return { kind: "found", line };
  return { kind: "not-found" };
}

function search(index: Buffer, key: string): number | undefined {
  const width = index.indexOf(0x0a) + 1;
  const wanted = Buffer.from(`${key}\0`, "latin1");
  let low = 0;
  let high = Math.floor(index.length / width);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = index.subarray(middle * width, (middle + 1) * width);
    const order = Buffer.compare(wanted, entry.subarray(0, entry.indexOf(0) + 1));
    if (order === 0) return Number.parseInt(entry.toString("latin1", wanted.length), 10);
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
