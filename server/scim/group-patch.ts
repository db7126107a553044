/**
 * Compiles a PATCH on a group to edits. The group is never read for it: one member more or less in a group of 50,000
 * stays one edit.
 */

import { quote } from "../../identity/refusal.ts";
import type { GroupEdit } from "../directory/groups.ts";
import { refuseAs } from "./errors.ts";
import type { Filter } from "./filter.ts";
import { memberIds, sameNumber } from "./group-resource.ts";
import { asObject } from "./json.ts";
import type { Operation } from "./operation.ts";
import { findPath, isReadOnly, type Path, parsePath } from "./path.ts";
import { extensionNamed, groupType, type Schema } from "./schema.ts";
import { readValue } from "./value.ts";

type Change = Pick<Operation, "op" | "value">;

/** @throws ScimRefusal `invalidPath`, `noTarget`, `mutability`, `invalidValue`, `invalidFilter`. */
export function groupEdits(operations: readonly Operation[], id: string): GroupEdit[] {
  return operations.flatMap(({ op, path: text, value }) => {
    if (text === undefined) return spread({ op, value }, id);
    const extension = extensionNamed(groupType, text);
    if (extension && op === "remove") refuseAs("mutability", `${quote(text)} is read-only`);
    if (extension) return spread({ op, value }, id, extension);
    const path = parsePath(groupType, text);
    if (isReadOnly(path)) refuseAs("mutability", `${quote(text)} is read-only`);
    return edit(path, { op, value });
  });
}

/** Okta renames with `{id, displayName}`. */
function spread({ op, value }: Change, id: string, within?: Schema): GroupEdit[] {
  const stated = Object.entries(asObject(value, "the value of an operation without a path"));
  return stated.flatMap(([key, part]) => {
    const extension = within ? undefined : extensionNamed(groupType, key);
    if (extension) return spread({ op, value: part ?? {} }, id, extension);
    const path = findPath(groupType, within ? `${within.id}:${key}` : key);
    if (path?.attribute.name === "id" && part !== id) refuseAs("mutability", "the id of a resource never changes");
    return path && !isReadOnly(path) ? edit(path, { op, value: part }) : [];
  });
}

function edit(path: Path, change: Change): GroupEdit[] {
  const { attribute } = path;
  switch (attribute.name) {
    case "members":
      return [editMembers(path, change)];
    case "displayName": {
      if (change.op === "remove") refuseAs("mutability", "displayName cannot be removed");
      return [{ kind: "set-display-name", displayName: readValue(attribute, change.value) as string }];
    }
    case "externalId": {
      const externalId = change.op === "remove" ? undefined : readValue(attribute, change.value);
      return [{ kind: "set-external-id", externalId: externalId as string | undefined }];
    }
    case "gidNumber":
      return [sameNumber(change.op === "remove" ? undefined : change.value)];
    default:
      return refuseAs("invalidPath", `${attribute.name} of a group cannot be changed`);
  }
}

function editMembers({ filter, sub }: Path, { op, value }: Change): GroupEdit {
  if (sub) refuseAs("invalidPath", "a member is added or removed whole; its parts cannot be changed");
  if (filter) {
    if (op !== "remove") refuseAs("invalidPath", `a filter on members is for remove, not for ${op}`);
    return { kind: "remove-members", members: idsOf(filter) };
  }
  switch (op) {
    case "add":
      return { kind: "add-members", members: memberIds(value) };
    case "replace":
      return { kind: "set-members", members: memberIds(value) };
    case "remove":
      // Entra names in the value who is to go. Only without one is everybody meant (RFC 7644, section 3.5.2.2): a null
      // might mean nobody or everybody, and is refused as no list of members.
      return value === undefined
        ? { kind: "set-members", members: [] }
        : { kind: "remove-members", members: memberIds(value) };
  }
}

/** `value eq "x"`, or several of them joined by `or`. */
function idsOf(filter: Filter): string[] {
  if (filter.kind === "or") return filter.terms.flatMap(idsOf);
  if (filter.kind === "compare" && filter.op === "eq" && filter.name.toLowerCase() === "value") {
    if (typeof filter.value === "string") return [filter.value];
  }
  return refuseAs("invalidFilter", 'only members[value eq "id"] is supported, several joined by or');
}
