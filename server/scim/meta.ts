/** A resource's `meta`: where it is, since when, and a weak version that moves with every change. */

import type { Doc } from "./json.ts";
import type { ResourceType } from "./schema.ts";

export interface Dated {
  readonly id: string;
  readonly createdAt: number;
  readonly modifiedAt: number;
}

export function metaOf(type: ResourceType, { id, createdAt, modifiedAt }: Dated, base: string): Doc {
  return {
    resourceType: type.name,
    created: new Date(createdAt).toISOString(),
    lastModified: new Date(modifiedAt).toISOString(),
    location: locationOf(type, id, base),
    version: versionOf({ modifiedAt }),
  };
}

/** The weak ETag of a resource. */
export function versionOf({ modifiedAt }: Pick<Dated, "modifiedAt">): string {
  return `W/"${modifiedAt.toString(36)}"`;
}

export function locationOf({ endpoint }: ResourceType, id: string, base: string): string {
  return `${base}${endpoint}/${id}`;
}
