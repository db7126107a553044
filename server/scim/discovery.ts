/** What a client can ask about this server (RFC 7644, section 4): what it does, and no more than it does. */

import { quote, refuse } from "../../identity/refusal.ts";
import type { Attribute } from "./attribute.ts";
import { mostOperations } from "./bulk-request.ts";
import { type Doc, largestBody } from "./json.ts";
import { listResponse, mostResults, usualResults } from "./page.ts";
import { groupType, type ResourceType, type Schema, userType } from "./schema.ts";
import { limits } from "./walks.ts";
import { wordingOf } from "./wording.ts";

const types: readonly ResourceType[] = [userType, groupType];

export function serviceProviderConfig(base: string): Doc {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    patch: { supported: true },
    bulk: { supported: true, maxOperations: mostOperations, maxPayloadSize: largestBody },
    filter: { supported: true, maxResults: mostResults },
    changePassword: { supported: false },
    sort: { supported: true },
    etag: { supported: true },
    pagination: {
      cursor: true,
      index: true,
      defaultPaginationMethod: "index",
      defaultPageSize: usualResults,
      maxPageSize: mostResults,
      cursorTimeout: limits.idle / 1000,
    },
    authenticationSchemes: [
      {
        type: "oauthbearertoken",
        name: "Bearer token",
        specUri: "https://www.rfc-editor.org/info/rfc6750",
        description: "Authorization: Bearer and a token made by `rollcall scim-token create`",
        primary: true,
      },
      {
        type: "oauth2",
        name: "OAuth 2.0 client credentials",
        description: "A short-lived bearer token from POST /oauth/token, for a client id and its secret",
        specUri: "https://www.rfc-editor.org/info/rfc6749",
      },
    ],
    meta: { resourceType: "ServiceProviderConfig", location: `${base}/ServiceProviderConfig` },
  };
}

export function resourceTypes(base: string): Doc {
  return listResponse(
    types.map((type) => renderType(type, base)),
    types.length,
    1,
  );
}

/** @throws Refusal `not-found`. */
export function resourceType(name: string, base: string): Doc {
  const type = types.find((candidate) => candidate.name === name);
  return type ? renderType(type, base) : refuse("not-found", `no resource type ${quote(name)}`);
}

export function schemas(base: string): Doc {
  const all = types.flatMap(({ core, extensions }) => [core, ...extensions]);
  return listResponse(
    all.map((schema) => renderSchema(schema, base)),
    all.length,
    1,
  );
}

/** @throws Refusal `not-found`. */
export function schema(urn: string, base: string): Doc {
  const found = types.flatMap(({ core, extensions }) => [core, ...extensions]).find(({ id }) => id === urn);
  return found ? renderSchema(found, base) : refuse("not-found", `no schema ${quote(urn)}`);
}

export function renderType({ name, endpoint, core, extensions }: ResourceType, base: string): Doc {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
    id: name,
    name,
    endpoint,
    description: core.description,
    schema: core.id,
    schemaExtensions: extensions.map(({ id }) => ({ schema: id, required: false })),
    meta: { resourceType: "ResourceType", location: `${base}/ResourceTypes/${name}` },
  };
}

export function renderSchema(schema: Schema, base: string): Doc {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
    id: schema.id,
    name: schema.name,
    description: schema.description,
    attributes: schema.attributes.map((attribute) => renderAttribute(attribute, schema, "")),
    meta: { resourceType: "Schema", location: `${base}/Schemas/${schema.id}` },
  };
}

function renderAttribute({ subAttributes, ...attribute }: Attribute, schema: Schema, prefix: string): Doc {
  const path = prefix + attribute.name;
  const parts = subAttributes?.map((part) => renderAttribute(part, schema, `${path}.`));
  return { ...attribute, ...wordingOf(schema.name, path), ...(parts && { subAttributes: parts }) };
}
