/**
 * What `kustomize build` makes of deploy/kustomize, for tests on machines that have no kustomize. It knows the few words that ours use, and
 * refuses every other: resources, components, JSON patches, a suffix of names, a namespace.
 */

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";

/** An object of Kubernetes, as YAML has it. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { name: string; namespace?: string };
  readonly [field: string]: unknown;
}

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly { readonly target: { readonly kind: string }; readonly patch: string }[];
  readonly nameSuffix?: string;
  readonly namespace?: string;
}

const words = ["apiVersion", "kind", "resources", "components", "patches", "nameSuffix", "namespace"];

/** All objects of a folder with a kustomization.yaml, in order. */
export function build(folder: string): Manifest[] {
  const wanted = read(folder);
  const objects = (wanted.resources ?? []).flatMap((resource) => {
    const path = join(folder, resource);
    return statSync(path).isDirectory() ? build(path) : documents(path);
  });
  for (const component of wanted.components ?? []) patchAll(objects, read(join(folder, component)));
  patchAll(objects, wanted);
  if (wanted.nameSuffix !== undefined) rename(objects, wanted.nameSuffix);
  for (const object of objects) {
    if (wanted.namespace === undefined || /^(Namespace|Cluster.*)$/.test(object.kind)) continue;
    object.metadata.namespace = wanted.namespace;
  }
  return objects;
}

function read(folder: string): Kustomization {
  const found = parse(readFileSync(join(folder, "kustomization.yaml"), "utf8")) as Kustomization;
  const strange = Object.keys(found).filter((word) => !words.includes(word));
  if (strange.length > 0) throw new Error(`${folder}: this reader does not know ${strange.join(", ")}`);
  return found;
}

function documents(path: string): Manifest[] {
  return parseAllDocuments(readFileSync(path, "utf8")).map((document) => {
    const [error] = document.errors;
    if (error) throw new Error(`${path}: ${error.message}`);
    return document.toJS() as Manifest;
  });
}

function patchAll(objects: readonly Manifest[], { patches = [] }: Kustomization): void {
  for (const { target, patch } of patches) {
    const hit = objects.filter(({ kind }) => kind === target.kind);
    if (hit.length === 0) throw new Error(`a patch finds no ${target.kind}`);
    for (const object of hit) for (const operation of parse(patch) as Operation[]) apply(object, operation);
  }
}

/** Of RFC 6902. */
interface Operation {
  readonly op: string;
  readonly path: string;
  readonly value: unknown;
}

function apply(object: Manifest, { op, path, value }: Operation): void {
  const keys = path
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop() ?? "";
  let at: unknown = object;
  for (const key of keys) at = (at as Record<string, unknown> | undefined)?.[key];
  if (typeof at !== "object" || at === null) throw new Error(`${path}: there is nothing above it`);
  const parent = at as Record<string, unknown>;
  if (op === "add" && Array.isArray(at) && last === "-") at.push(value);
  else if (op === "add" && !Array.isArray(at)) parent[last] = value;
  else if (op === "replace" && last in parent) parent[last] = value;
  else throw new Error(`this reader does not know "${op}" at ${path}`);
}

/** Kustomize renames what refers to a renamed object too: of ours, pods to their service account. */
function rename(objects: readonly Manifest[], suffix: string): void {
  const accounts = objects.flatMap(({ kind, metadata }) => (kind === "ServiceAccount" ? [metadata.name] : []));
  for (const object of objects) {
    object.metadata.name += suffix;
    const pod = (object["spec"] as { template?: { spec: { serviceAccountName?: string } } } | undefined)?.template
      ?.spec;
    if (pod?.serviceAccountName !== undefined && accounts.includes(pod.serviceAccountName))
      pod.serviceAccountName += suffix;
  }
}
