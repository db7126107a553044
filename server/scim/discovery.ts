/** What a client can ask about this server (RFC 7644, section 4): what it does, and no more than it does. */

import { quote, refuse } from "../../identity/refusal.ts";
import type { Attribute } from "./attribute.ts";
import { mostOperations } from "./bulk-request.ts";
import { type Doc, largestBody } from "./json.ts";
import { listResponse, mostResults, usualResults } from "./page.ts";
import { groupType, type ResourceType, type Schema, userType } from "./schema.ts";
import { limits } from "./walks.ts";
import { wordingOf } from "./wording.ts";

function serviceProviderConfig(base: string): Doc {
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

/** Paths, and what stands there: given the URL of the endpoint, and the `:name` in the path. It may throw `not-found`. */
export type Discovery = ReadonlyMap<string, (base: string, name: string) => Doc>;

/** What an endpoint that serves these types says of itself. */
export function discoveryOf(types: readonly ResourceType[], config: (base: string) => Doc): Discovery {
  const schemas = types.flatMap(({ core, extensions }) => [core, ...extensions]);
  return new Map([
    ["/ServiceProviderConfig", config],
    ["/ResourceTypes", (base: string) => whole(types.map((type) => renderType(type, base)))],
    [
      "/ResourceTypes/:name",
      (base: string, name: string) => {
        const type = types.find((candidate) => candidate.name === name);
        return type ? renderType(type, base) : refuse("not-found", `no resource type ${quote(name)}`);
      },
    ],
    ["/Schemas", (base: string) => whole(schemas.map((schema) => renderSchema(schema, base)))],
    [
      "/Schemas/:name",
      (base: string, urn: string) => {
        const schema = schemas.find(({ id }) => id === urn);
        return schema ? renderSchema(schema, base) : refuse("not-found", `no schema ${quote(urn)}`);
      },
    ],
  ]);
}

/** What an org's directory says of itself. */
export const directoryDiscovery = discoveryOf([userType, groupType], serviceProviderConfig);

function whole(all: readonly Doc[]): Doc {
  return listResponse(all, all.length, 1);
}

function renderType({ name, endpoint, core, extensions }: ResourceType, base: string): Doc {
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

function renderSchema(schema: Schema, base: string): Doc {
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
