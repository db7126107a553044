import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Name, parseName } from "../../../identity/name.ts";
import { parseSudoCommands, type SudoCommands } from "../../../identity/sudo.ts";
import { hostileInputs } from "../../../test/hostile.ts";
import { meet, parseRules, printRules, type Rule, type Rules } from "./rule.ts";

const rules = (...stated: (readonly [group: string, password: boolean, commands: SudoCommands])[]): Rules =>
  new Map(stated.map(([group, password, commands]) => [group as Name, { group: group as Name, password, commands }]));

const read = (text: string) => parseRules(Buffer.from(text));

test("one line per group, those that ask for a password first, then by name", () => {
  const printed = printRules(
    rules(
      ["ops", false, "ALL"],
      ["backup-staff", false, ["/usr/bin/rsync -a /a /b", "/usr/bin/tar"]],
      ["zoo", true, ["/usr/bin/id"]],
      ["admins", true, "ALL"],
    ),
  );
  expect(printed.toString()).toBe(`\
%admins ALL=(ALL:ALL) PASSWD: ALL
%zoo ALL=(ALL:ALL) PASSWD: /usr/bin/id
%backup-staff ALL=(ALL:ALL) NOPASSWD: /usr/bin/rsync -a /a /b, /usr/bin/tar
%ops ALL=(ALL:ALL) NOPASSWD: ALL
`);
  expect(printRules(parseRules(printed))).toEqual(printed);
  expect(printRules(rules())).toEqual(Buffer.alloc(0));
});

describe("what is not our own bytes is no rule", () => {
  const good = "%ops ALL=(ALL:ALL) NOPASSWD: /usr/bin/id\n";
  test.each([
    ["a user", "ada ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["everybody", "ALL ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["a group of everybody", "%ALL ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["a number", "%#70000 ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["a uid", "#0 ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["a netgroup", "+ops ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["the system's own group", "%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n"],
    ["a comment", `# ours\n${good}`],
    ["a comment at the end", "%ops ALL=(ALL:ALL) NOPASSWD: ALL #\n"],
    ["an include", `@include /tmp/x\n${good}`],
    ["an include of old", `#include /tmp/x\n${good}`],
    ["defaults", `Defaults !authenticate\n${good}`],
    ["an alias", `User_Alias X = ada\n${good}`],
    ["another host", "%ops login-1=(ALL:ALL) NOPASSWD: ALL\n"],
    ["another user to run as", "%ops ALL=(root) NOPASSWD: ALL\n"],
    ["no tag", "%ops ALL=(ALL:ALL) ALL\n"],
    ["another tag", "%ops ALL=(ALL:ALL) NOPASSWD: SETENV: ALL\n"],
    ["a second list", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/a : ALL=(ALL:ALL) ALL\n"],
    ["a negation", "%ops ALL=(ALL:ALL) NOPASSWD: ALL, !/bin/su\n"],
    ["ALL beside commands", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/a, ALL\n"],
    ["a wildcard", "%ops ALL=(ALL:ALL) NOPASSWD: /usr/bin/*\n"],
    ["a folder", "%ops ALL=(ALL:ALL) NOPASSWD: /usr/bin/\n"],
    ["a way up", "%ops ALL=(ALL:ALL) NOPASSWD: /usr/bin/../../tmp/x\n"],
    ["a relative path", "%ops ALL=(ALL:ALL) NOPASSWD: id\n"],
    ["sudoedit", "%ops ALL=(ALL:ALL) NOPASSWD: sudoedit /etc/x\n"],
    ["an escape", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/a\\, b\n"],
    ["a line that goes on", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/a, \\\n/bin/b\n"],
    ["a quote", '%ops ALL=(ALL:ALL) NOPASSWD: /bin/a ""\n'],
    ["two spaces", "%ops  ALL=(ALL:ALL) NOPASSWD: /bin/a\n"],
    ["a tab", "%ops\tALL=(ALL:ALL) NOPASSWD: /bin/a\n"],
    ["a carriage return", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/a\r\n"],
    ["a NUL", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/a\0\n"],
    ["no line break at the end", good.trimEnd()],
    ["an empty line", `${good}\n`],
    ["the same twice", `${good}${good}`],
    ["commands in another order", "%ops ALL=(ALL:ALL) NOPASSWD: /bin/b, /bin/a\n"],
    ["another letter", "%öps ALL=(ALL:ALL) NOPASSWD: /bin/a\n"],
  ])("%s", (_, text) => {
    expect(() => read(text)).toThrow();
  });

  test.each(hostileInputs("group", "reject"))("as a group: %s", (_, value) => {
    expect(() => parseName(value)).toThrow();
    expect(() => read(`%${String(value)} ALL=(ALL:ALL) NOPASSWD: /usr/bin/id\n`)).toThrow();
  });

  test.each(hostileInputs("login", "reject"))("as a name: %s", (_, value) => {
    expect(() => read(`%${String(value)} ALL=(ALL:ALL) NOPASSWD: /usr/bin/id\n`)).toThrow();
  });
});

describe("what two versions both grant", () => {
  test.each<[string, Rules, Rules, Rules]>([
    [
      "less of two lists",
      rules(["a", false, ["/x", "/y"]]),
      rules(["a", false, ["/y", "/z"]]),
      rules(["a", false, ["/y"]]),
    ],
    ["a list of ALL", rules(["a", false, "ALL"]), rules(["a", false, ["/y"]]), rules(["a", false, ["/y"]])],
    ["with a password if one asks", rules(["a", true, "ALL"]), rules(["a", false, "ALL"]), rules(["a", true, "ALL"])],
    ["nothing of another group", rules(["a", false, "ALL"]), rules(["b", false, "ALL"]), rules()],
    ["nothing in common", rules(["a", false, ["/x"]]), rules(["a", false, ["/z"]]), rules()],
  ])("%s", (_, a, b, both) => {
    expect(meet(a, b)).toEqual(both);
    expect(meet(b, a)).toEqual(both);
  });

  const anyRules: fc.Arbitrary<Rules> = fc
    .array(
      fc.record<Rule>({
        group: fc.constantFrom("a", "b", "c").map((name) => name as Name),
        password: fc.boolean(),
        commands: fc.oneof(
          fc.constant<SudoCommands>("ALL"),
          fc.subarray(["/a", "/b", "/c -x"], { minLength: 1 }).map((list) => parseSudoCommands(list)),
        ),
      }),
    )
    .map((list) => new Map(list.map((rule) => [rule.group, rule])));

  /** Whether rules let a group run a command, and without a password. */
  const grants = (all: Rules, group: string, command: string) => {
    const rule = all.get(group as Name);
    const allows = rule !== undefined && (rule.commands === "ALL" || rule.commands.includes(command));
    return { allows, freely: allows && !rule.password };
  };

  test("is never more than either, nor less; and survives print and parse", () => {
    fc.assert(
      fc.property(anyRules, anyRules, (a, b) => {
        const both = meet(a, b);
        expect(parseRules(printRules(both))).toEqual(new Map([...both].sort(byPrinted(both))));
        for (const group of "abc") {
          for (const command of ["/a", "/b", "/c -x", "/other"]) {
            const [x, y, z] = [a, b, both].map((each) => grants(each, group, command));
            expect(z).toEqual({ allows: x?.allows && y?.allows, freely: x?.freely && y?.freely });
          }
        }
      }),
    );
  });

  function byPrinted(all: Rules) {
    const text = printRules(all).toString();
    return ([a]: [Name, Rule], [b]: [Name, Rule]) => text.indexOf(`%${a} `) - text.indexOf(`%${b} `);
  }
});
