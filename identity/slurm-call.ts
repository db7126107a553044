/**
 * One call of one of Slurm's programs. Names stand apart from the words around them: a list of a thousand is one call, and can be
 * halved if one of them spoils it. What is passed on is checked once more here, the last place before a program sees it.
 */

export interface Call {
  /** What it is for, for people: `add 2 users to physics`. */
  readonly what: string;
  readonly program: "sacctmgr" | "scancel";
  /** Before the names: `add`, `user`; for scancel, which of them. */
  readonly head: readonly string[];
  /** Users or accounts; for scancel, jobs by number. */
  readonly names: readonly string[];
  /** After the names: `cluster=hpc`, `account=physics`. */
  readonly tail: readonly string[];
}

/** One call does this many. */
export const namesPerCall = 1_000;

const name = /^[a-z0-9_][a-z0-9_-]{0,63}$/;
const word = /^(add|modify|delete|user|account|where|set|--state=PENDING|[a-z]{1,24}=[A-Za-z0-9 ._:()/+,=-]{0,512})$/;

/** Whether it can be passed to a program as the name of a user or an account. */
export function isPassable(value: string): boolean {
  return name.test(value);
}

/** The program's arguments, one by one: no shell reads them. @throws Error: a name or word that could be read as something else. */
export function argumentsOf({ program, head, names, tail }: Call): string[] {
  const stranger = names.find((each) => !name.test(each)) ?? [...head, ...tail].find((each) => !word.test(each));
  if (stranger !== undefined || names.length === 0) {
    throw new Error(`${JSON.stringify(stranger ?? "nothing")} must not be passed to ${program}`);
  }
  if (program === "scancel") return [...head, ...names];
  return ["-i", ...head, `name=${names.join(",")}`, ...tail];
}

/** As many calls as the names need. */
export function inChunks(call: Call): Call[] {
  const calls: Call[] = [];
  for (let at = 0; at < call.names.length; at += namesPerCall) {
    calls.push({ ...call, names: call.names.slice(at, at + namesPerCall) });
  }
  return calls;
}

/** The two halves of a call; undefined if it is about one name alone. */
export function halved(call: Call): readonly [Call, Call] | undefined {
  const { names } = call;
  if (names.length < 2) return undefined;
  const half = names.length >> 1;
  return [
    { ...call, names: names.slice(0, half) },
    { ...call, names: names.slice(half) },
  ];
}
