/**
 * Kubernetes vouches for a node: the projected service-account token of the agent's pod, which says on which node the pod
 * runs, is shown to the cluster's own API server (TokenReview, authentication.k8s.io/v1). Which service account is which
 * Rollcall cluster and role is the operator's to say, in a file; what is not in it is refused.
 *
 * A token goes only to the API server of the issuer that it names, is never logged, and is good for no other node's name.
 */

import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { quote, Refusal, refuse } from "../../identity/refusal.ts";
import { type Role, roles } from "../../identity/scope.ts";

/** A Kubernetes cluster whose word counts. */
export interface Issuer {
  /** The `iss` of its tokens. */
  readonly issuer: string;
  /** `https://` URL of its API server, and the authority that its certificate is checked against, PEM. */
  readonly api: string;
  readonly caPem: string;
  /** The audience that agents' tokens must be made for. */
  readonly audience: string;
  /** File with the bearer token that may create TokenReviews; read anew each time, since Kubernetes rotates it. */
  readonly credentialFile: string;
  readonly agents: readonly Agents[];
}

/** Whose agents a service account runs. */
export interface Agents {
  /** `namespace/name`. */
  readonly serviceAccount: string;
  readonly cluster: string;
  readonly role: Role;
}

/** How long an API server may take, in milliseconds, and how much it may say, in bytes. */
export const limits = { time: 5_000, answer: 64 * 1024, token: 16 * 1024 };

/** Reads the file that `--kubernetes` names. @throws Refusal `invalid`, with the file, the place and the rule. */
export async function readIssuers(path: string): Promise<Issuer[]> {
  const wrong: Wrong = (why) => refuse("invalid", `--kubernetes ${path}: ${why}`);
  try {
    const said: unknown = JSON.parse(await readFile(path, "utf8"));
    if (!Array.isArray(said)) return wrong("it must hold a JSON list of issuers");
    const issuers = said.map((each, n) => parseIssuer(each, (why) => wrong(`issuer ${n + 1}: ${why}`)));
    return await Promise.all(issuers);
  } catch (err) {
    if (err instanceof Refusal) throw err;
    return wrong(String(err));
  }
}

/**
 * Has a token reviewed, for a node of a name.
 * @throws Refusal `forbidden`: nobody vouches for it. Error: the API server could not be asked.
 */
export async function vouch(
  issuers: readonly Issuer[],
  token: string,
  node: string,
): Promise<Agents & { pod: string }> {
  const issuer = issuers.find((each) => each.issuer === issuerOf(token));
  if (!issuer) return refuse("forbidden", "the Kubernetes token is of no issuer that this server was told of");
  const { authenticated, audiences, user } = await review(issuer, token);
  if (authenticated !== true) return refuse("forbidden", "Kubernetes does not vouch for the token");
  if (!audiences?.includes(issuer.audience)) {
    return refuse("forbidden", `the Kubernetes token is not made for the audience ${quote(issuer.audience)}`);
  }
  const serviceAccount = /^system:serviceaccount:([^:]+):([^:]+)$/
    .exec(user?.username ?? "")
    ?.slice(1)
    .join("/");
  const agents = issuer.agents.find((each) => each.serviceAccount === serviceAccount);
  if (!agents) return refuse("forbidden", `the service account ${quote(serviceAccount ?? "")} runs no agents`);
  const [on] = user?.extra?.["authentication.kubernetes.io/node-name"] ?? [];
  if (on === undefined) return refuse("forbidden", "the Kubernetes token does not say on which node its pod runs");
  if (on.split(".", 1)[0] !== node) {
    return refuse("forbidden", `the Kubernetes token is of a pod on ${quote(on)}, not on ${quote(node)}`);
  }
  const [pod = ""] = user?.extra?.["authentication.kubernetes.io/pod-name"] ?? [];
  return { ...agents, pod };
}

interface Status {
  readonly authenticated?: boolean;
  readonly audiences?: readonly string[];
  readonly user?: { readonly username?: string; readonly extra?: Readonly<Record<string, readonly string[]>> };
}

async function review({ api, caPem, audience, credentialFile }: Issuer, token: string): Promise<Status> {
  const credential = (await readFile(credentialFile, "utf8")).trim();
  const spec = { token, audiences: [audience] };
  const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec });
  const url = new URL("/apis/authentication.k8s.io/v1/tokenreviews", api);
  const answer = await post(url, caPem, { authorization: `Bearer ${credential}` }, body);
  // What it says is checked, not believed: it may be any server that was put there.
  const { status } = JSON.parse(answer) as { status?: unknown };
  if (!isStatus(status)) throw new Error("the Kubernetes API server's answer is no TokenReview");
  return status;
}

function post(url: URL, ca: string, headers: Record<string, string>, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`ask the Kubernetes API server: ${why}`));
    const signal = AbortSignal.timeout(limits.time);
    const all = { ...headers, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    // Redirects are not followed: the token is for this server alone.
    const asked = request(url, { method: "POST", ca, headers: all, signal, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("error", reject);
      response.on("data", (more: string) => {
        text += more;
        if (text.length > limits.answer) asked.destroy(new Error("its answer is too long"));
      });
      response.on("end", () => {
        if (response.statusCode === 200 || response.statusCode === 201) resolve(text);
        else fail(`status ${response.statusCode}`);
      });
    });
    asked.on("error", (err) => fail(err.message));
    asked.end(body);
  });
}

/** The issuer that a token names; it is only asked then, and believed no more than any other. */
function issuerOf(token: string): string | undefined {
  if (token.length > limits.token) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
    const issuer = typeof claims === "object" && claims !== null && "iss" in claims ? claims.iss : undefined;
    return typeof issuer === "string" ? issuer : undefined;
  } catch {
    return undefined;
  }
}

function isStatus(value: unknown): value is Status {
  if (typeof value !== "object" || value === null) return false;
  const { audiences = [], user = {} } = value as { audiences?: unknown; user?: unknown };
  if (!isTexts(audiences) || typeof user !== "object" || user === null) return false;
  const { username = "", extra = {} } = user as { username?: unknown; extra?: unknown };
  if (typeof username !== "string" || typeof extra !== "object" || extra === null) return false;
  return Object.values(extra).every(isTexts);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

/** Refuses a part of the file, and says which. */
type Wrong = (why: string) => never;

async function parseIssuer(value: unknown, wrong: Wrong): Promise<Issuer> {
  const texts = ["issuer", "api", "ca_file", "audience", "credential_file"] as const;
  const { agents, ...said } = objectOf(value, texts, ["agents"], wrong);
  if (!said.api.startsWith("https://")) wrong("api must begin with https://");
  if (!Array.isArray(agents)) return wrong("agents must be a list");
  return {
    issuer: said.issuer,
    api: said.api,
    caPem: await readFile(said.ca_file, "utf8"),
    audience: said.audience,
    credentialFile: said.credential_file,
    agents: agents.map((each) => parseAgents(each, wrong)),
  };
}

function parseAgents(value: unknown, wrong: Wrong): Agents {
  const said = objectOf(value, ["service_account", "cluster", "role"], [], wrong);
  if (!/^[a-z0-9-]+\/[a-z0-9.-]+$/.test(said.service_account)) wrong("service_account must be NAMESPACE/NAME");
  const role = roles.find((each) => each === said.role) ?? wrong(`role must be one of ${roles.join(", ")}`);
  return { serviceAccount: said.service_account, cluster: said.cluster, role };
}

/** An object with some fields that are texts, all of them needed, and others that are anything; no more. */
function objectOf<T extends string, F extends string>(
  value: unknown,
  texts: readonly T[],
  others: readonly F[],
  wrong: Wrong,
): Record<T, string> & Record<F, unknown> {
  if (typeof value !== "object" || value === null) return wrong("it must be an object");
  const unknown = Object.keys(value).find((field) => ![...texts, ...others].some((each) => each === field));
  if (unknown !== undefined) wrong(`${quote(unknown)} is not known`);
  const fields = value as Record<T | F, unknown>;
  const empty = texts.find((field) => typeof fields[field] !== "string" || fields[field] === "");
  if (empty !== undefined) wrong(`${empty} must be a text`);
  return fields as Record<T, string> & Record<F, unknown>;
}
