/** What a client can ask about this server (RFC 7644, section 4): what it does, and no more than it does. */

import { quote, refuse } from "../../identity/refusal.ts";
import type { Doc } from "./json.ts";
import { listResponse, mostResults } from "./page.ts";
import { groupType, type ResourceType, type Schema, userType } from "./schema.ts";

const types: readonly ResourceType[] = [userType, groupType];

export function serviceProviderConfig(base: string): Doc {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    patch: { supported: true },
    bulk: { supported: false, maxOperations: 0, maxPayloadSize: 0 },
    filter: { supported: true, maxResults: mostResults },
    changePassword: { supported: false },
    sort: { supported: false },
    etag: { supported: false },
    authenticationSchemes: [
      {
        type: "oauthbearertoken",
        name: "Bearer token",
        description: "Authorization: Bearer and a token made by `rollcall scim-token create`",
        primary: true,
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
    ...schema,
    meta: { resourceType: "Schema", location: `${base}/Schemas/${schema.id}` },
  };
}
