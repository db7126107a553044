/**
 * Limits as Slurm tells them: `sacctmgr show association` has columns of other names than what it sets, counts memory and time
 * in units of its own, and lists in an order of its own. Compared by what they mean; an unset limit is stated by a word of its own.
 */

/** Limits by sacctmgr's names for setting them; one that is missing is unset. */
export type Limits = Readonly<Record<string, string>>;

type Kind = "count" | "tres" | "wall" | "qos" | "name";

const known: ReadonlyMap<string, { readonly column: string; readonly kind: Kind; readonly unset: string }> = new Map([
  ["fairshare", { column: "fairshare", kind: "count", unset: "1" }],
  ["priority", { column: "priority", kind: "count", unset: "" }],
  ["grpjobs", { column: "grpjobs", kind: "count", unset: "" }],
  ["grpsubmitjobs", { column: "grpsubmit", kind: "count", unset: "" }],
  ["maxjobs", { column: "maxjobs", kind: "count", unset: "" }],
  ["maxsubmitjobs", { column: "maxsubmit", kind: "count", unset: "" }],
  ["grptres", { column: "grptres", kind: "tres", unset: "" }],
  ["grptresmins", { column: "grptresmins", kind: "tres", unset: "" }],
  ["maxtresperjob", { column: "maxtresperjob", kind: "tres", unset: "" }],
  ["grpwall", { column: "grpwall", kind: "wall", unset: "" }],
  ["maxwalldurationperjob", { column: "maxwall", kind: "wall", unset: "" }],
  ["qos", { column: "qos", kind: "qos", unset: "" }],
  ["defaultqos", { column: "defaultqos", kind: "name", unset: "" }],
]);

export function isLimit(name: string): boolean {
  return known.has(name);
}

/** The columns to ask for, in the order in which {@link limitsShown} reads them. */
export const limitColumns: readonly string[] = [...known.values()].map(({ column }) => column);

/** What the columns say; a limit that is not set is left out. */
export function limitsShown(cells: readonly string[]): Limits {
  const shown = [...known].map(([name, { unset }], at) => [name, cells[at] ?? unset, unset] as const);
  return Object.fromEntries(
    shown.flatMap(([name, cell, unset]) => (cell === unset || cell === "" ? [] : [[name, cell]])),
  );
}

/** The words that make what is shown into what is wanted: none if it is that already. A limit that is not wanted is unset. */
export function limitWords(shown: Limits, wanted: Limits): string[] {
  return [...known.keys()].flatMap((name) => {
    const [before, after] = [shown[name], wanted[name]];
    return isSame(name, before, after) ? [] : (wordFor(name, before, after) ?? []);
  });
}

/** No job starts, and none is taken. */
export const closed: Limits = { maxjobs: "0", maxsubmitjobs: "0" };

export function isClosed(shown: Limits): boolean {
  return shown["maxjobs"] === "0" && shown["maxsubmitjobs"] === "0";
}

function wordFor(name: string, before: string | undefined, after: string | undefined): string | undefined {
  switch (known.get(name)?.kind) {
    case "tres": {
      // What is not named stays: each resource that is to have no limit any more is unset by its name.
      const kept = new Set(tresOf(after).map(([resource]) => resource));
      const gone = tresOf(before).flatMap(([resource]) =>
        kept.has(resource) || !plain.test(resource) ? [] : resource,
      );
      const parts = [...(after === undefined ? [] : [after]), ...gone.map((resource) => `${resource}=-1`)];
      return parts.length === 0 ? undefined : `${name}=${parts.join(",")}`;
    }
    case "qos":
      return `${name}=${after ?? ""}`;
    case "count":
    case "wall":
    case "name":
    case undefined:
      return `${name}=${after ?? "-1"}`;
  }
}

/** A resource that may be named to sacctmgr: it came from Slurm, where anybody may have made one. */
const plain = /^[a-z]+(\/[a-z0-9_]+(:[a-z0-9_]+)?)?$/;

function isSame(name: string, shown: string | undefined, wanted: string | undefined): boolean {
  const { kind = "name", unset = "" } = known.get(name) ?? {};
  const [a, b] = [shown ?? unset, wanted ?? unset];
  if (a === b) return true;
  switch (kind) {
    case "tres": {
      const [before, after] = [a, b].map((each) => tresOf(each).filter(([resource]) => plain.test(resource)));
      const amounts = new Map(after);
      return before?.length === amounts.size && before.every((each) => isAmount(each, amounts.get(each[0])));
    }
    case "wall":
      return a !== "" && b !== "" && minutesOf(a) === minutesOf(b);
    case "qos":
      return a.split(",").toSorted().join() === b.split(",").toSorted().join();
    case "count":
    case "name":
      return false;
  }
}

function tresOf(value: string | undefined): (readonly [resource: string, amount: string])[] {
  if (value === undefined || value === "") return [];
  return value.split(",").map((part) => {
    const at = part.lastIndexOf("=");
    return [part.slice(0, at), part.slice(at + 1)] as const;
  });
}

/** Whether an amount, as shown, is what is wanted. Shown with a point it is rounded to two places behind it. */
function isAmount([resource, shown]: readonly [string, string], wanted: string | undefined): boolean {
  if (wanted === undefined) return false;
  const [a, b] = [amountOf(resource, shown), amountOf(resource, wanted)];
  return Math.abs(a.amount - b.amount) <= (shown.includes(".") ? a.unit / 200 : 0);
}

/** Memory is in MiB unless it says more; Slurm 22.05 takes K there for M. All else is in ones. */
function amountOf(resource: string, text: string): { readonly amount: number; readonly unit: number } {
  const [, number = "", letter = ""] = /^([0-9.]+)([KMGTP]?)$/.exec(text) ?? [];
  const power = ["", "K", "M", "G", "T", "P"].indexOf(letter);
  const unit = 1024 ** (resource === "mem" ? Math.max(0, power - 2) : power);
  return { amount: number === "" ? Number.NaN : Number(number) * unit, unit };
}

/** sacctmgr(1): minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds. */
function minutesOf(value: string): number {
  const [, days, clock = ""] = /^(?:([0-9]+)-)?([0-9:]+)$/.exec(value) ?? [];
  const parts = clock.split(":").map(Number);
  const [a = 0, b = 0, c = 0] = parts;
  if (days !== undefined) return Number(days) * 1440 + a * 60 + b + Math.ceil(c / 60);
  if (parts.length === 1) return a;
  return parts.length === 2 ? a + Math.ceil(b / 60) : a * 60 + b + Math.ceil(c / 60);
}
