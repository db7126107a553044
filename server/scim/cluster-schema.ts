/**
 * The schemas of the cluster read endpoint: of a person what a login node needs, and nothing else that the directory
 * knows of them. All of it is read-only here.
 */

import { type Attribute, attribute, complex, texts } from "./attribute.ts";
import { groupType, posixUrn, type ResourceType, type Schema, userType } from "./schema.ts";

const readOnly = { mutability: "readOnly" } as const;

/** Under this name, clusters that were provisioned by CoreWeave's own SCIM find what they know. */
export const coreweaveUrn = "urn:coreweave:params:scim:schemas:extension:coreweave:2.0:CoreWeaveUser";

const core: Schema = {
  ...userType.core,
  description: "A person with access to the cluster",
  attributes: [
    attribute("userName", { ...readOnly, uniqueness: "server" }),
    complex("name", texts("formatted"), readOnly),
    attribute("displayName", readOnly),
    attribute("active", { ...readOnly, type: "boolean" }),
    complex("groups", texts("value", "$ref", "display", "type"), { ...readOnly, multiValued: true }),
  ],
};

const account: readonly Attribute[] = [
  attribute("userName", { ...readOnly, caseExact: true, uniqueness: "server" }),
  attribute("uidNumber", { ...readOnly, type: "integer", uniqueness: "server" }),
  attribute("gidNumber", { ...readOnly, type: "integer" }),
  attribute("homeDirectory", { ...readOnly, caseExact: true }),
  attribute("loginShell", { ...readOnly, caseExact: true }),
];

function keys(name: string): Attribute {
  return attribute(name, { ...readOnly, caseExact: true, multiValued: true });
}

const posixAccount: Schema = {
  id: posixUrn.user,
  name: "PosixUser",
  description: "The person's account on the cluster's nodes",
  attributes: [...account, attribute("gecos", readOnly), keys("sshKeys")],
};

const coreweave: Schema = {
  id: coreweaveUrn,
  name: "CoreWeaveUser",
  description: "The same account under other names, told with alias=coreweave",
  attributes: [...account, keys("sunkSshKeys")].map((each) => ({ ...each, returned: "request" })),
};

export const clusterUserType: ResourceType = {
  ...userType,
  core,
  extensions: [posixAccount, coreweave],
};

export const clusterGroupType: ResourceType = {
  ...groupType,
  core: { ...groupType.core, attributes: groupType.core.attributes.map((each) => ({ ...each, ...readOnly })) },
};

export const clusterTypes: readonly ResourceType[] = [clusterUserType, clusterGroupType];
