/** What the read endpoint of a cluster says of itself (RFC 7644, section 4; RFC 9865, section 4). */

import { quote, refuse } from "../../identity/refusal.ts";
import { cursorLife } from "./cluster-cursor.ts";
import { walkPage } from "./cluster-page.ts";
import { clusterTypes } from "./cluster-schema.ts";
import { renderSchema, renderType } from "./discovery.ts";
import type { Doc } from "./json.ts";
import { listResponse } from "./page.ts";

const nothing = { supported: false } as const;

export function clusterConfig(base: string): Doc {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    patch: nothing,
    bulk: { ...nothing, maxOperations: 0, maxPayloadSize: 0 },
    // An answer without a count is never cut.
    filter: { supported: true, maxResults: 2 ** 31 - 1 },
    changePassword: nothing,
    sort: nothing,
    etag: nothing,
    pagination: {
      cursor: true,
      index: true,
      defaultPaginationMethod: "index",
      defaultPageSize: walkPage,
      cursorTimeout: cursorLife / 1000,
    },
    authenticationSchemes: [
      {
        type: "oauthbearertoken",
        name: "Bearer token",
        description: "Authorization: Bearer and a token that reads this cluster",
        primary: true,
      },
    ],
    meta: { resourceType: "ServiceProviderConfig", location: `${base}/ServiceProviderConfig` },
  };
}

const schemas = clusterTypes.flatMap(({ core, extensions }) => [core, ...extensions]);

export function clusterResourceTypes(base: string): Doc {
  const types = clusterTypes.map((type) => renderType(type, base));
  return listResponse(types, types.length, 1);
}

/** @throws Refusal `not-found`. */
export function clusterResourceType(base: string, name: string): Doc {
  const type = clusterTypes.find((candidate) => candidate.name === name);
  return type ? renderType(type, base) : refuse("not-found", `no resource type ${quote(name)}`);
}

export function clusterSchemas(base: string): Doc {
  const all = schemas.map((schema) => renderSchema(schema, base));
  return listResponse(all, all.length, 1);
}

/** @throws Refusal `not-found`. */
export function clusterSchema(base: string, urn: string): Doc {
  const schema = schemas.find(({ id }) => id === urn);
  return schema ? renderSchema(schema, base) : refuse("not-found", `no schema ${quote(urn)}`);
}
