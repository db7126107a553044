/** What deploy/ promises, read off its files: how little each pod may do, and where its folders are. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { build, type Manifest } from "./deploy/kustomize.ts";
import { type Container, loginPodWithHomes, type Pod, podOf } from "./deploy/pod.ts";

const deploy = fileURLToPath(new URL("../deploy", import.meta.url));
const objects = build(join(deploy, "kustomize"));
const sets = objects.filter(({ kind }) => kind === "DaemonSet");
const pods = sets.map((set): [string, Pod] => [set.metadata.name, podOf(set)]);
const containers = pods.flatMap(([name, pod]) =>
  [...pod.initContainers, ...pod.containers].map((container): [string, Container, Pod] => [
    `${name}/${container.name}`,
    container,
    pod,
  ]),
);

test("one DaemonSet a role, of a service account of its own, on the nodes with its label", () => {
  expect(pods.map(([name]) => name)).toEqual(["agent-login", "agent-compute", "agent-controller"]);
  for (const [name, pod] of pods) {
    expect(pod.serviceAccountName, "the control plane knows the role by it").toBe(name);
    expect(objects, name).toContainEqual(
      expect.objectContaining({ kind: "ServiceAccount", metadata: expect.objectContaining({ name }) }),
    );
    expect(pod.nodeSelector).toEqual({ "rollcall/role": name.replace("agent-", "") });
  }
  const selectors = sets.map(({ spec }) => JSON.stringify((spec as { selector: unknown }).selector));
  expect(new Set(selectors).size, "no DaemonSet takes another's pods").toBe(sets.length);
});

test("a role that no component gives more to has no capability, and sees no process but its own", () => {
  const extra = Object.fromEntries(
    pods.map(([name, pod]) => [
      name,
      { hostPID: pod.hostPID, add: pod.containers[0]?.securityContext.capabilities.add },
    ]),
  );
  expect(extra).toEqual({
    "agent-login": { hostPID: true, add: ["KILL", "SETUID", "SETGID"] },
    "agent-compute": { hostPID: false, add: [] },
    "agent-controller": { hostPID: false, add: [] },
  });
});

test("homes bring one capability, and one folder", async () => {
  const pod = await loginPodWithHomes();
  const [agent] = pod.containers;
  expect(agent?.securityContext.capabilities.add).toEqual(["KILL", "SETUID", "SETGID", "CHOWN"]);
  expect(agent?.volumeMounts).toContainEqual({
    name: "homes",
    mountPath: "/home",
    mountPropagation: "HostToContainer",
  });
  expect(pod.volumes).toContainEqual({ name: "homes", hostPath: { path: "/home", type: "Directory" } });
});

test.each(containers)("%s is root in name only", (_, { securityContext }, pod) => {
  expect(securityContext).toMatchObject({
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  });
  expect(pod.securityContext).toMatchObject({
    runAsUser: 0,
    supplementalGroups: [42],
    seccompProfile: { type: "RuntimeDefault" },
  });
  expect(pod.automountServiceAccountToken).toBe(false);
});

test.each(containers)(
  "%s writes to its own folder, or to /etc before it hears anybody",
  (name, { volumeMounts }, pod) => {
    const paths = new Map(pod.volumes.map((volume) => [volume.name, volume.hostPath]));
    const written = volumeMounts.flatMap((mount) => (mount.readOnly ? [] : [paths.get(mount.name)?.path]));
    expect(written).toEqual(name.endsWith("/links") ? ["/etc"] : ["/var/lib/rollcall"]);
    for (const { name: volume } of volumeMounts) {
      const hostPath = paths.get(volume);
      // A file that is mounted alone keeps its content when its name gets another.
      if (hostPath) expect(hostPath.type, volume).toMatch(/^Directory(OrCreate)?$/);
    }
  },
);

test.each(pods)("%s sees its folder at the path that the links lead to", (_, { containers: [agent] }) => {
  expect(agent?.volumeMounts).toContainEqual({ name: "state", mountPath: "/var/lib/rollcall" });
  expect(agent?.args.filter((arg) => arg.startsWith("--state"))).toEqual([]);
});

test("pods of Slurm read what is served, as a folder, and see no key", () => {
  const { spec } = parse(readFileSync(join(deploy, "snippets/slurm-pod.yaml"), "utf8")) as { spec: Pod };
  expect(spec.volumes[0]?.hostPath).toEqual({ path: "/var/lib/rollcall/served", type: "Directory" });
  expect(spec.containers[0]?.volumeMounts[0]).toMatchObject({ mountPath: "/var/lib/rollcall/served", readOnly: true });
});

test("the reviewer may ask about tokens, and nothing else", () => {
  const bindings = objects.filter(({ kind }) => kind.endsWith("Binding"));
  expect(bindings.map(roleOf)).toEqual(["system:auth-delegator"]);
});

function roleOf(binding: Manifest): string {
  return (binding["roleRef"] as { name: string }).name;
}
