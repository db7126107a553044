/** A site's files are read line by line; what is wrong in one stops no other, and every problem says where it is. */

import { describe, expect, test } from "vitest";
import { merge } from "./estate.ts";
import { parseLdif } from "./ldif.ts";
import { parseMapping } from "./mapping.ts";
import { parseGroup, parsePasswd } from "./passwd.ts";
import { parseSacctmgrDump } from "./sacctmgr.ts";

describe("passwd and group", () => {
  test("entries are read with their lines", () => {
    const { accounts, problems } = parsePasswd(
      "passwd",
      "# people\n\nada:x:5001:5001:Ada Lovelace,Room 1,,:/home/ada:/bin/bash\r\nbob:x:5002:100::/home/bob:/bin/sh\n",
    );
    expect(problems).toEqual([]);
    expect(accounts).toMatchObject([
      { file: "passwd", line: 3, name: "ada", uid: 5001, gid: 5001, gecos: "Ada Lovelace", home: "/home/ada" },
      { line: 4, name: "bob", gid: 100, shell: "/bin/sh" },
    ]);
    expect(parseGroup("group", "ml:x:6000:ada,bob\nempty:x:6001:\n").teams).toMatchObject([
      { name: "ml", gid: 6000, members: ["ada", "bob"] },
      { name: "empty", members: [] },
    ]);
  });

  test("every wrong line is a problem, and the right ones are read", () => {
    const text =
      "ada:x:5001\nbob:x:many:1::/home/bob:/bin/sh\n+::::::\neve:x:5003:5003::/home/eve:/bin/sh:\nok:x:5004:5004::/home/ok:/bin/sh\n";
    const { accounts, problems } = parsePasswd("passwd", text);
    expect(accounts.map(({ name }) => name)).toEqual(["ok"]);
    expect(problems).toMatchObject([
      { line: 1, field: "line", rule: "3 fields between colons, not 7" },
      { line: 2, field: "uid", value: "many" },
      { line: 3, field: "name", value: "+" },
      { line: 4, field: "line" },
    ]);
    expect(parseGroup("group", "ml:x:-1:\nx\n").problems).toHaveLength(2);
  });
});

describe("LDIF", () => {
  const text = `version: 1
# an export
dn: uid=ada,ou=people,dc=example,dc=org
objectClass: top
objectClass: posixAccount
objectClass: ldapPublicKey
uid: ada
cn;lang-en: Ada
cn: Ada Lovelace
uidNumber: 5001
gidNumber: 5001
homeDirectory: /home/
 ada
loginShell:: L2Jpbi9iYXNo
mail: ada@example.org
sshPublicKey: ssh-ed25519 AAAA

dn: cn=ml,ou=groups,dc=example,dc=org
objectClass: posixGroup
cn: ml
gidNumber: 6000
memberUid: ada
memberUid: bob

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people
`;

  test("folded and encoded values, comments, options and other classes", () => {
    expect(parseLdif("x.ldif", text)).toMatchObject({
      accounts: [
        {
          line: 3,
          name: "ada",
          uid: 5001,
          gecos: "Ada",
          home: "/home/ada",
          shell: "/bin/bash",
          mails: ["ada@example.org"],
          keys: ["ssh-ed25519 AAAA"],
        },
      ],
      teams: [{ name: "ml", gid: 6000, members: ["ada", "bob"] }],
      problems: [],
    });
  });

  test.each([
    ["dn: x\nchangetype: modify\nobjectClass: posixAccount\n", "changetype"],
    ["dn: x\nobjectClass: posixAccount\nuid: a\nuidNumber: x\ngidNumber: 1\n", "uidnumber"],
    ["dn: x\ngecos:< file:///etc/shadow\n", "gecos"],
    ["dn: x\ncn:: !!!\n", "cn"],
    ["dn: x\ncn:: /w==\n", "cn"],
    ["no colon\n", "line"],
  ])("%j has a problem", (wrong, field) => {
    expect(parseLdif("x.ldif", `${wrong}\n${text}`)).toMatchObject({
      accounts: [{ name: "ada" }],
      problems: [expect.objectContaining({ field })],
    });
  });
});

test("what is not asked for is not even looked at: photographs, hashes, files elsewhere", () => {
  const text = `dn: uid=ada
objectClass: posixAccount
uid: ada
uidNumber: 5001
gidNumber: 5001
homeDirectory: /home/ada
loginShell: /bin/bash
jpegPhoto:: /9j/4AAQ
 SkZJRg==
userPassword:: e1NTSEF9////
userCertificate;binary:< file:///etc/shadow
`;
  expect(parseLdif("x.ldif", text)).toMatchObject({ accounts: [{ name: "ada", uid: 5001 }], problems: [] });
});

test("a line that cannot be read is not shown: it may hold a password's hash", () => {
  const secret = "$6$salt$hash";
  const told = [
    ...parsePasswd("passwd", `ada:${secret}:5001:5001::/home/ada\n`).problems,
    ...parseGroup("group", `lab:${secret}:x\n`).problems,
    ...parseLdif("ldif", `dn: x\n${secret}\nuserPassword ${secret}\n`).problems,
    ...parseSacctmgrDump("dump", `${secret}\n`).problems,
    ...parseMapping("map", `ada ${secret} 5001\n`).problems,
  ];
  expect(told).toHaveLength(6);
  expect(JSON.stringify(told)).not.toContain(secret);
});

test("what two files say of one account is put together, unless it differs", () => {
  const passwd = parsePasswd("passwd", "ada:x:5001:5001::/home/ada:/bin/bash\nbob:x:5002:5002::/home/bob:/bin/sh\n");
  const again = parsePasswd("other", "ada:x:5001:5001::/home/ada:/bin/bash\nbob:x:5003:5002::/home/bob:/bin/sh\n");
  const { accounts, problems } = merge([passwd, again]);
  expect(accounts.map(({ name }) => name)).toEqual(["ada", "bob"]);
  expect(problems).toMatchObject([{ file: "other", line: 2, field: "uid", value: "5003" }]);
  expect(merge([passwd, passwd]).problems).toHaveLength(2);
});

test("a Slurm dump is a tree", () => {
  const dump = `# To edit this file start with a cluster line
Cluster - 'hpc':Fairshare=1:QOS='normal'
Parent - 'root'
User - 'root':DefaultAccount='root':AdminLevel='Administrator':Fairshare=1
Account - 'physics':Description='physics dept':Organization='science':Fairshare=10
Parent - 'physics'
Account - 'optics':Description='optics':Organization='science'
Parent - 'optics'
User - 'ada':DefaultAccount='optics':AdminLevel='Operator':Fairshare=1
nonsense
`;
  expect(parseSacctmgrDump("dump", dump)).toMatchObject({
    accounts: [
      { name: "physics", parent: undefined },
      { name: "optics", parent: "physics" },
    ],
    users: [
      { name: "root", account: "root" },
      { name: "ada", account: "optics", defaultAccount: "optics", adminLevel: "Operator", line: 9 },
    ],
    problems: [{ line: 10, field: "line" }],
  });
});

test("a mapping says who is who, once", () => {
  const { userNames, problems } = parseMapping("map", "# who\nada  ada.l@example.org\nbob\nada x@y\neve a b\n");
  expect([...userNames]).toMatchObject([["ada", { userName: "ada.l@example.org", line: 2 }]]);
  expect(problems.map(({ line }) => line)).toEqual([3, 4, 5]);
});
