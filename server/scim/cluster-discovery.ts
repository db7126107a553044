/** What the read endpoint of a cluster says of itself (RFC 7644, section 4; RFC 9865, section 4). */

import { cursorLife } from "./cluster-cursor.ts";
import { walkPage } from "./cluster-page.ts";
import { clusterTypes } from "./cluster-schema.ts";
import { discoveryOf } from "./discovery.ts";
import type { Doc } from "./json.ts";

const nothing = { supported: false } as const;

function clusterConfig(base: string): Doc {
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

export const clusterDiscovery = discoveryOf(clusterTypes, clusterConfig);
