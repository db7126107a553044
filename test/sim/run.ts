/** `npm run sim -- --seeds N [--from N] [-o json]`: plays many schedules; on the first that breaks something, says the least of it. */

import { parseArgs } from "node:util";
import { real } from "./parts.ts";
import { print } from "./schedule.ts";
import { search } from "./shrink.ts";

const options = {
  seeds: { type: "string", default: "100000" },
  from: { type: "string", default: "0" },
  output: { type: "string", short: "o" },
} as const;
const { values } = parseArgs({ options });
const from = Number(values.from);
const until = from + Number(values.seeds);
if (!Number.isSafeInteger(from) || !Number.isSafeInteger(until))
  throw new Error("--seeds and --from are whole numbers");

function* seeds(): Generator<number> {
  for (let seed = from; seed < until; seed++) {
    if (seed > from && seed % 5000 === 0) process.stderr.write(`${seed - from} of ${until - from}\n`);
    yield seed;
  }
}

const began = performance.now();
const found = search(seeds(), real);
const seconds = Math.round((performance.now() - began) / 100) / 10;
if (found) process.exitCode = 1;
if (values.output === "json") {
  const trace = found && { seed: found.seed, why: found.why, schedule: print(found.schedule) };
  process.stdout.write(`${JSON.stringify({ from, seeds: until - from, seconds, found: trace ?? null })}\n`);
} else if (found) {
  process.stdout.write(`# seed ${found.seed}: ${found.why}\n${print(found.schedule)}\n`);
} else {
  process.stdout.write(`${until - from} schedules from seed ${from}: nothing broken, in ${seconds} s.\n`);
}
