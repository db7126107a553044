import { expect, test } from "vitest";
import { accountsOf, checkAccount } from "./account-tree.ts";
import { type AccountGrant, parseGrant, type Rule } from "./grant.ts";

function rule(group: string, account: string, more: Partial<AccountGrant> = {}): Rule {
  const plain = { isDefault: false, adminLevel: "none", limits: {} };
  return { group, grant: parseGrant({ kind: "account", account, ...plain, ...more }) };
}

const limits = { grptres: "gres/gpu=8" };

test("an account is what all rules that name it say together", () => {
  const rules = [
    rule("a", "optics", { parent: "physics" }),
    rule("b", "optics", { parent: "physics", description: "Light", accountLimits: limits }),
    rule("c", "physics", { description: "All of it" }),
  ];
  expect(accountsOf(rules)).toEqual([
    { kind: "account", name: "physics", parent: undefined, description: "All of it", limits: {} },
    { kind: "account", name: "optics", parent: "physics", description: "Light", limits },
  ]);
});

test.each<[string, Partial<AccountGrant>, RegExp]>([
  ["elsewhere", { parent: "chemistry" }, /is below physics by the rule of "a"/],
  [
    "under another description",
    { parent: "physics", description: "Heat" },
    /is described as "Light" by the rule of "a"/,
  ],
  ["with other limits", { parent: "physics", accountLimits: { fairshare: "1" } }, /has the limits grptres=gres\/gpu=8/],
])("two rules cannot put one account %s", (_, more, why) => {
  const first = rule("a", "optics", { parent: "physics", description: "Light", accountLimits: limits });
  expect(() => checkAccount([first], rule("b", "optics", more))).toThrow(why);
  expect(() => checkAccount([first], rule("b", "optics", { parent: "physics" }))).not.toThrow();
});

test("an account is never below itself", () => {
  expect(() => checkAccount([rule("a", "x", { parent: "y" })], rule("b", "y", { parent: "x" }))).toThrow(
    /below itself/,
  );
});
