import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

test("as many as there are turns go at once, the rest in the order in which they came; a turn is given back once", async () => {
  const turns = new Turns(2);
  const done: number[] = [];
  const taken = [0, 1, 2, 3].map((n) => turns.take().then((turn) => (done.push(n), turn)));
  const [first] = await Promise.all(taken.slice(0, 2));
  expect(done).toEqual([0, 1]);
  first?.[Symbol.dispose]();
  first?.[Symbol.dispose]();
  const third = await taken[2];
  expect(done).toEqual([0, 1, 2]);
  third?.[Symbol.dispose]();
  await taken[3];
  expect(done).toEqual([0, 1, 2, 3]);
});
