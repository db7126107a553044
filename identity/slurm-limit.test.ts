import { expect, test } from "vitest";
import { limitColumns, limitsShown, limitWords } from "./slurm-limit.ts";

const asShown = (cells: Record<string, string>) => limitsShown(limitColumns.map((column) => cells[column] ?? ""));

test("what Slurm shows is read by its own names, and what is unset is not there", () => {
  expect(asShown({ fairshare: "1" })).toEqual({});
  expect(asShown({ fairshare: "3", maxsubmit: "0", maxwall: "1-00:00:00" })).toEqual({
    fairshare: "3",
    maxsubmitjobs: "0",
    maxwalldurationperjob: "1-00:00:00",
  });
});

test.each([
  ["grptres", "cpu=4,mem=100G", "mem=102400M,cpu=4"],
  ["grptres", "mem=1000000M,node=4096", "node=4K,mem=1000000"],
  ["grptres", "mem=2000G", "mem=2048000K"],
  ["grptres", "mem=1.50G", "mem=1536"],
  ["grpwall", "69-10:40:00", "100000"],
  ["maxwalldurationperjob", "01:02:00", "61:30"],
  ["maxwalldurationperjob", "1-00:00:00", "1-0"],
  ["qos", "high,normal", "normal,high"],
  ["fairshare", "1", "1"],
])("%s: %s is %s", (limit, shown, wanted) => {
  expect(limitWords({ [limit]: shown }, { [limit]: wanted })).toEqual([]);
});

test.each([
  [{ maxjobs: "5" }, {}, ["maxjobs=-1"]],
  [{}, { maxjobs: "5" }, ["maxjobs=5"]],
  [{ fairshare: "9" }, {}, ["fairshare=-1"]],
  [{ qos: "high" }, {}, ["qos="]],
  [{ defaultqos: "high" }, {}, ["defaultqos=-1"]],
  [{ grptres: "cpu=4,mem=100G" }, { grptres: "cpu=8" }, ["grptres=cpu=8,mem=-1"]],
  [{ grptres: "cpu=4,mem=100G" }, {}, ["grptres=cpu=-1,mem=-1"]],
  [{ maxwalldurationperjob: "1-00:00:00" }, {}, ["maxwalldurationperjob=-1"]],
  [{ grptres: "mem=1.50G" }, { grptres: "mem=1700" }, ["grptres=mem=1700"]],
  [{ fairshare: "parent" }, { fairshare: "2" }, ["fairshare=2"]],
])("from %o to %o: %o", (shown, wanted, words) => {
  expect(limitWords(shown as never, wanted as never)).toEqual(words);
});
