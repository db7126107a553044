import { describe, expect, test } from "vitest";
import type { Uid } from "./id.ts";
import { type Name, parseName } from "./name.ts";
import { groupPlaces, homeFrom, nameFrom, parseHomeTemplate, parseNameTemplate, userPlaces } from "./template.ts";

const ada = {
  userName: "Ada.Lovelace@example.org",
  externalId: "00u1",
  "name.givenName": "Ada",
  "name.familyName": "Lovelace",
  displayName: "Countess of Lovelace",
  employeeNumber: "4711",
  email: "a.lovelace@example.org",
};

describe("names", () => {
  test.each([
    ["{userName}", "ada-lovelace"],
    ["{name.givenName:1}{name.familyName}", "alovelace"],
    ["{name.familyName:4}-{name.givenName:2}", "love-ad"],
    ["u{employeeNumber}", "u4711"],
    ["{email}", "a-lovelace"],
    ["hpc_{externalId}", "hpc_00u1"],
    ["{name.givenName:31}", "ada"],
  ])("%s makes %s", (template, name) => {
    expect(nameFrom(parseNameTemplate("userNames", template, userPlaces), "refuse", ada)).toBe(name);
  });

  test("spaces are refused, or become dashes", () => {
    const displayName = "Test SCIM";
    expect(() => nameFrom("{displayName}", "refuse", { displayName })).toThrow(/displayName "Test SCIM"/);
    expect(nameFrom("{displayName}", "dash", { displayName })).toBe("test-scim");
    expect(() => nameFrom("{displayName}", "dash", { displayName: "a\tb" })).toThrow(/displayName/);
    expect(() => nameFrom("{displayName}", "dash", { displayName: "wheel" })).toThrow(/reserved/);
  });

  test("what is missing or cannot be part of a name is named", () => {
    expect(() => nameFrom("{nickName}", "refuse", ada)).toThrow(/nickName is missing/);
    expect(() => nameFrom("{nickName}", "refuse", { nickName: "" })).toThrow(/nickName is missing/);
    expect(() => nameFrom("x{name.givenName}", "refuse", { "name.givenName": "Zoë" })).toThrow(/name.givenName/);
    // A Turkish capital and the Kelvin sign become ASCII letters when they are lower-cased.
    for (const trap of ["\u212aim", "\u0130lk"]) {
      expect(() => nameFrom("{displayName}", "refuse", { displayName: trap })).toThrow(/displayName/);
    }
    expect(() => nameFrom("{employeeNumber}", "refuse", ada)).toThrow(/does not match/);
    expect(() => nameFrom("ro{displayName}", "refuse", { displayName: "ot" })).toThrow(/reserved/);
    expect(() => nameFrom("{userName}", "refuse", { userName: "@example.org" })).toThrow(/userName/);
  });

  test.each([
    "",
    "ada",
    "{userName",
    "userName}",
    "{user}",
    "{userName:0}",
    "{userName:32}",
    "{userName:-1}",
    "{userName:1.5}",
    "{userName}.x",
    "{userName} x",
    "U{userName}",
    "{{userName}}",
    "{__proto__}",
    "{constructor}",
    "{userName}\n",
    `${"a".repeat(200)}{userName}`,
  ])("no rule for people: %j", (template) => {
    expect(() => parseNameTemplate("userNames", template, userPlaces)).toThrow(/userNames/);
  });

  test("groups have no family name", () => {
    expect(() => parseNameTemplate("groupNames", "{name.familyName}", groupPlaces)).toThrow(/\{displayName\}/);
    expect(parseNameTemplate("groupNames", "g-{displayName}", groupPlaces)).toBe("g-{displayName}");
  });
});

describe("homes", () => {
  const places = { name: parseName("ada"), uid: 200_000 as Uid, org: "physics", cluster: "hpc1" };

  test.each([
    ["/home/{name}", "/home/ada"],
    ["/home/{org}/{name}", "/home/physics/ada"],
    ["/{cluster}/home/{name}", undefined],
    ["/data/{cluster}/u{uid}", "/data/hpc1/u200000"],
    ["/var/home/{name}", "/var/home/ada"],
  ])("%s makes %s", (template, home) => {
    if (home === undefined) return expect(() => parseHomeTemplate("home", template)).toThrow(/same for everybody/);
    expect(homeFrom(parseHomeTemplate("home", template), places)).toBe(home);
  });

  test.each([
    "",
    "home/{name}",
    "/{name}/home",
    "/{name}",
    "/home",
    "/home/{org}",
    "/home/{name}{uid}",
    "/home/{name:3}",
    "/home/{userName}",
    "/home/{name}/..",
    "/home//{name}",
    "/home/.{name}",
    "/home/{name} x",
    "/home/{name}\n",
    "/root/{name}",
    "/tmp/{name}",
    "/etc/{name}",
    "/var/t{name}",
    "/var/{name}",
    "/proc/{uid}",
    "/dev/shm/{name}",
    `/home/${"x".repeat(180)}/{name}`,
  ])("no template: %j", (template) => {
    expect(() => parseHomeTemplate("home", template)).toThrow(/home/);
  });

  test("whatever is filled in, what was accepted makes a home", () => {
    for (const template of ["/home/{name}", "/srv/{org}/{cluster}/{name}", "/var/home/x{uid}/{org}-{cluster}"]) {
      parseHomeTemplate("home", template);
      for (const name of ["tmp", "run", "a", "_", "x".repeat(31)]) {
        for (const label of ["tmp", "a-b", "9", "x".repeat(63)]) {
          const filled = { name: name as Name, uid: 1000 as Uid, org: label, cluster: label };
          expect(homeFrom(template, filled)).toMatch(/^\//);
        }
      }
    }
  });
});
