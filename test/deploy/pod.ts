/** How a pod's container is held, read off its manifest: the kubelet's part, for a machine that has none. */

import { readFileSync } from "node:fs";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { Confinement, Mount } from "../lab/confined.ts";
import { build, type Manifest } from "./kustomize.ts";

export interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly valueFrom: Readonly<Record<string, unknown>> }[];
  readonly resources?: { readonly limits?: Readonly<Record<string, string>> };
  readonly securityContext: {
    readonly privileged: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add: readonly string[] };
  };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

export interface Volume {
  readonly name: string;
  readonly hostPath?: { readonly path: string; readonly type: string };
  readonly [kind: string]: unknown;
}

export interface Pod {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly hostPID: boolean;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly securityContext: {
    readonly runAsUser: number;
    readonly runAsGroup: number;
    readonly supplementalGroups: readonly number[];
    readonly seccompProfile: { readonly type: string };
  };
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly Volume[];
}

/** The pod that a DaemonSet runs on each of its nodes. */
export function podOf({ spec }: Manifest): Pod {
  return (spec as { template: { spec: Pod } }).template.spec;
}

/** The pod of a login node that makes homes, as an operator adds that component to the overlay. */
export async function loginPodWithHomes(): Promise<Pod> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-kustomize-"));
  const kustomize = fileURLToPath(new URL("../../deploy/kustomize", import.meta.url));
  const at = (path: string) => relative(folder.path, join(kustomize, path));
  const wanted = { resources: [at("overlays/login")], components: [at("components/homes")] };
  await writeFile(join(folder.path, "kustomization.yaml"), stringify(wanted));
  const set = build(folder.path).find(({ kind }) => kind === "DaemonSet");
  if (!set) throw new Error("the overlay has no DaemonSet");
  return podOf(set);
}

export interface Surroundings {
  /** Values of the environment, by name: what a ConfigMap or the node says. */
  readonly environment: Readonly<Record<string, string>>;
  /** Folders of the host that stand for volumes that Kubernetes fills, by name. */
  readonly volumes: Readonly<Record<string, string>>;
}

/** @throws Error if the manifest names a volume or a value that is not given. */
export function confinementOf(pod: Pod, container: Container, { environment, volumes }: Surroundings): Confinement {
  const { securityContext: own } = container;
  const known = new Map(pod.volumes.map((volume) => [volume.name, volume.hostPath?.path ?? volumes[volume.name]]));
  const mounts = container.volumeMounts.map(({ name, mountPath, readOnly = false }): Mount => {
    const source = known.get(name);
    if (source === undefined) throw new Error(`there is no volume ${name}`);
    return { source, target: mountPath, readOnly };
  });
  const values = Object.fromEntries((container.env ?? []).map(({ name }) => [name, environment[name]]));
  const args = container.args.map((arg) =>
    arg.replaceAll(/\$\((\w+)\)/g, (_, name: string) => {
      const value = values[name];
      if (value === undefined) throw new Error(`there is no value for ${name}`);
      return value;
    }),
  );
  if (!own.capabilities.drop.includes("ALL")) throw new Error(`${container.name} keeps what the runtime gives`);
  return {
    capabilities: own.capabilities.add.map((name) => name.toLowerCase()),
    groups: pod.securityContext.supplementalGroups,
    newPrivileges: own.allowPrivilegeEscalation,
    rootReadOnly: own.readOnlyRootFilesystem,
    mounts,
    environment: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    command: [...entryPoint(), ...args],
  };
}

/** What the image runs. */
function entryPoint(): string[] {
  const text = readFileSync(new URL("../../deploy/Containerfile", import.meta.url), "utf8");
  return JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(text)?.[1] ?? "") as string[];
}
