/**
 * What /Schemas says of attributes and nothing else needs (RFC 7643, section 7): what they are for, which values are usual,
 * what they refer to. By path, `emails.type`; a part of a multi-valued attribute that is not listed has the usual words.
 */

export interface Wording {
  readonly description: string;
  readonly canonicalValues?: readonly string[];
  readonly referenceTypes?: readonly string[];
}

/** The words for an attribute of a schema. */
export function wordingOf(schema: string, path: string): Wording | undefined {
  const own = words[schema]?.[path];
  if (own) return own;
  const part = /\.([^.]+)$/.exec(path)?.[1];
  return part === undefined || !Object.hasOwn(usual, part) ? undefined : usual[part];
}

function said(description: string, more: Omit<Wording, "description"> = {}): Wording {
  return { description, ...more };
}

const usual: Readonly<Record<string, Wording>> = {
  value: said("The value itself"),
  display: said("A name for people to read"),
  type: said("What the value is for", { canonicalValues: ["work", "home", "other"] }),
  primary: said("Whether this is the preferred value; at most one is"),
};

const user: Readonly<Record<string, Wording>> = {
  userName: said("What the person is called at the identity provider; unique in the org, whatever its case"),
  name: said("The parts of the person's name"),
  "name.formatted": said("The whole name, as it is written"),
  "name.familyName": said("The family name"),
  "name.givenName": said("The given name"),
  "name.middleName": said("The middle names"),
  "name.honorificPrefix": said("A title before the name"),
  "name.honorificSuffix": said("A suffix after the name"),
  displayName: said("The name that is shown; nodes show it too"),
  nickName: said("What the person is called among friends"),
  profileUrl: said("A page about the person", { referenceTypes: ["external"] }),
  title: said("The person's job title"),
  userType: said("How the person belongs to the organisation"),
  preferredLanguage: said("The languages that the person prefers, as in Accept-Language"),
  locale: said("For dates, numbers and currencies, as in en-US"),
  timezone: said("The time zone, as in Europe/Berlin"),
  active: said("Whether the person may log in anywhere"),
  password: said("Accepted and dropped: nobody logs in with it"),
  emails: said("E-mail addresses"),
  phoneNumbers: said("Telephone numbers"),
  "phoneNumbers.type": said("What the number is for", {
    canonicalValues: ["work", "home", "mobile", "fax", "pager", "other"],
  }),
  ims: said("Addresses for instant messages"),
  "ims.type": said("Which service", {
    canonicalValues: ["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"],
  }),
  photos: said("Pictures of the person"),
  "photos.value": said("Where the picture is", { referenceTypes: ["external"] }),
  "photos.type": said("How large it is", { canonicalValues: ["photo", "thumbnail"] }),
  addresses: said("Postal addresses"),
  "addresses.formatted": said("The whole address, as it is written"),
  "addresses.streetAddress": said("Street and number"),
  "addresses.locality": said("The city"),
  "addresses.region": said("The state or region"),
  "addresses.postalCode": said("The postal code"),
  "addresses.country": said("The country, by its two letters"),
  groups: said("The groups that the person is in; changed at the groups"),
  "groups.value": said("The group's id"),
  "groups.$ref": said("Where the group is", { referenceTypes: ["Group"] }),
  "groups.display": said("The group's displayName"),
  "groups.type": said("How the person came into it", { canonicalValues: ["direct", "indirect"] }),
  entitlements: said("What the person is entitled to elsewhere; it gives nothing here"),
  "entitlements.type": said("What kind of entitlement"),
  roles: said("The person's roles elsewhere; they give nothing here"),
  "roles.type": said("What kind of role"),
};

const group: Readonly<Record<string, Wording>> = {
  displayName: said("What the group is called at the identity provider; unique in the org, whatever its case"),
  members: said("Who is in the group"),
  "members.value": said("The member's id"),
  "members.$ref": said("Where the member is", { referenceTypes: ["User", "Group"] }),
  "members.display": said("What the member is called"),
  "members.type": said("What the member is", { canonicalValues: ["User", "Group"] }),
};

const enterprise: Readonly<Record<string, Wording>> = {
  employeeNumber: said("What the organisation counts the person as"),
  costCenter: said("The cost centre"),
  organization: said("The organisation"),
  division: said("The division"),
  department: said("The department"),
  manager: said("Whom the person reports to"),
  "manager.value": said("The manager's id"),
  "manager.$ref": said("Where the manager is", { referenceTypes: ["User"] }),
  "manager.displayName": said("The manager's name"),
};

const posixUser: Readonly<Record<string, Wording>> = {
  userName: said("The name of the account; given once, and never another's"),
  uidNumber: said("The account's uid; given once, and never another's"),
  gidNumber: said("The account's primary gid"),
  homeDirectory: said("The account's home"),
  loginShell: said("The account's shell"),
};

const posixGroup: Readonly<Record<string, Wording>> = {
  groupName: said("The name that nodes know the group by; given once, and never another's"),
  gidNumber: said("The group's gid; given once, and never another's"),
};

/** By the schema's name. */
const words: Readonly<Record<string, Readonly<Record<string, Wording>>>> = {
  User: user,
  Group: group,
  EnterpriseUser: enterprise,
  PosixUser: posixUser,
  PosixGroup: posixGroup,
};
