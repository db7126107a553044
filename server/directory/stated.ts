/** What of a person's attributes a POSIX name can be made of: their values, by the places of a template. */

import type { Stated } from "../../identity/template.ts";
import type { UserState } from "./users.ts";

const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

export function statedOf({ userName, externalId, attributes }: UserState): Stated {
  const { name, displayName, nickName, emails, [enterprise]: employment } = attributes;
  const { givenName, familyName } = parts(name);
  return {
    userName,
    externalId,
    "name.givenName": text(givenName),
    "name.familyName": text(familyName),
    displayName: text(displayName),
    nickName: text(nickName),
    employeeNumber: text(parts(employment)["employeeNumber"]),
    email: primaryOf(emails),
  };
}

/** The e-mail address that is marked as primary, or the first. */
function primaryOf(emails: unknown): string | undefined {
  const all = Array.isArray(emails) ? emails.map(parts) : [];
  return text((all.find(({ primary }) => primary === true) ?? all[0])?.["value"]);
}

function parts(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
