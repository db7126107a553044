/** `rollcall scim-token` and `rollcall join-token`: secrets that let others in, shown once. */

import { Command, Option } from "commander";
import { type Role, roles } from "../identity/scope.ts";
import {
  CreateJoinTokenResponseSchema,
  type CreateScimTokenResponse,
  CreateScimTokenResponseSchema,
  ListScimTokensResponseSchema,
  RevokeScimTokenResponseSchema,
  type RotateScimTokenResponse,
  RotateScimTokenResponseSchema,
  type ScimToken,
  ScimToken_Kind,
} from "../proto/gen/rollcall/v1/token_pb.ts";
import { printMillis, printRole } from "../proto/wire.ts";
import { clusterOption, type InCluster, type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { card, table } from "./table.ts";
import { parseDuration, showTime } from "./time.ts";

export function scimTokenCommand(run: Run): Command {
  const command = new Command("scim-token").description(
    "tokens with which others write a directory, or read a cluster",
  );
  command
    .command("create")
    .description("make a token; it is shown only now")
    .addOption(new Option("--org <name>", "the org; default, or that of the cluster"))
    .requiredOption("--name <connection>", "the connection's name, such as okta; it has at most two live tokens")
    .addOption(new Option("--cluster <name>", "a token that only reads this cluster, for nsscache").conflicts("oauth"))
    .option("--oauth", "a client that gets its tokens by OAuth 2.0 client credentials")
    .option("--ttl <duration>", "how long it works, such as 90d; until it is revoked by default", parseDuration)
    .action(
      run<Partial<InOrg> & { name: string; cluster?: string; oauth?: true; ttl?: number }>(
        async ({ tokens, show }, _, { ttl, ...wanted }) => {
          const made = await tokens.createScimToken({ ...wanted, ...(ttl !== undefined && { ttl: printMillis(ttl) }) });
          show(CreateScimTokenResponseSchema, made, showMade);
        },
      ),
    );
  command
    .command("list")
    .description("list tokens, without the secrets")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ tokens, show }, _, { org }) => {
        const found = await wholeList("scimTokens", (page) => tokens.listScimTokens({ org, ...page }));
        show(ListScimTokensResponseSchema, found, ({ scimTokens }) =>
          table(
            ["id", "name", "for", "created", "last used", "expires", "revoked"],
            scimTokens.map((token) => [
              token.id,
              token.name,
              showPurpose(token),
              showTime(token.createdAt),
              showTime(token.lastUsedAt),
              showTime(token.expiresAt),
              showTime(token.revokedAt),
            ]),
          ),
        );
      }),
    );
  command
    .command("rotate")
    .description("make a token like another, which then works for a while longer")
    .argument("<id>", "the id of the one to replace")
    .option("--overlap <duration>", "how long that still works, at most 30d; 24h by default, 0s ends it", parseDuration)
    .action(
      run<{ overlap?: number }>(async ({ tokens, show }, [id = ""], { overlap }) => {
        const lasting = overlap === undefined ? {} : { overlap: printMillis(overlap) };
        const made = await tokens.rotateScimToken({ id, ...lasting });
        show(RotateScimTokenResponseSchema, made, (shown) => {
          return `${showMade(shown)}\n${id} works until ${showTime(shown.replaced?.expiresAt)}.\n`;
        });
      }),
    );
  command
    .command("revoke")
    .description("revoke a token at once; of a client, with all that it was issued")
    .argument("<id>", "its id")
    .action(
      run(async ({ tokens, show }, [id = ""]) => {
        const done = await tokens.revokeScimToken({ id });
        show(RevokeScimTokenResponseSchema, done, () => `SCIM token ${id} is revoked.\n`);
      }),
    );
  return command;
}

/** What must be entered elsewhere, each under the name that it has there. */
function showMade(made: CreateScimTokenResponse | RotateScimTokenResponse): string {
  const { clientId, tokenUrl, baseUrl, token, scimToken } = made;
  const expires = scimToken?.expiresAt ? { expires: showTime(scimToken.expiresAt) } : {};
  if (clientId !== "") {
    return card({ base_url: baseUrl, token_url: tokenUrl, client_id: clientId, client_secret: token, ...expires });
  }
  return card({ id: scimToken?.id ?? "-", base_url: baseUrl, token, ...expires });
}

function showPurpose({ kind, cluster }: ScimToken): string {
  if (kind === ScimToken_Kind.READ) return `reading ${cluster}`;
  return kind === ScimToken_Kind.CLIENT ? "oauth" : "writing";
}

export function joinTokenCommand(run: Run): Command {
  const command = new Command("join-token").description("tokens with which nodes enrol, each once");
  command
    .command("create")
    .description("make a token; it is shown only now")
    .addOption(clusterOption())
    .addOption(new Option("--role <role>", "what the node is for").choices(roles).makeOptionMandatory())
    .option("--ttl <duration>", "how long it can be used, such as 10m, at most 24h", parseDuration)
    .action(
      run<InCluster & { role: Role; ttl?: number }>(async ({ tokens, show }, _, { cluster, role, ttl }) => {
        const lasting = ttl === undefined ? {} : { ttl: printMillis(ttl) };
        const made = await tokens.createJoinToken({ cluster, role: printRole(role), ...lasting });
        show(CreateJoinTokenResponseSchema, made, ({ token, expiresAt }) =>
          card({ token, expires: showTime(expiresAt) }),
        );
      }),
    );
  return command;
}
