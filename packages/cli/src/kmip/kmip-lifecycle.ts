import type { KmipClient } from "@holdfast/client";
import { type EnumerationText, enumerations } from "@holdfast/kmip";
import type { Command } from "commander";
import { Failure } from "../terminal/failure.ts";
import { type Answer, atServer } from "./kmip-command.ts";

type Code = EnumerationText<"RevocationReasonCode">;

interface RevokeOptions {
  readonly reason: string;
  readonly message?: string;
}

/** Commands that move an object through its lifecycle: activate, revoke, destroy. */
export function addLifecycleCommands(kmip: Command): void {
  atServer(
    kmip.command("activate").summary("make an object Active").argument("<id>"),
    async (client, [id = ""]) => done(await client.activate({ uniqueIdentifier: id }), "activated"),
  );
  atServer<RevokeOptions>(
    kmip
      .command("revoke")
      .summary("make an object Deactivated or Compromised")
      .description(
        "Revoke (KMIP 2.1, 6.1). KeyCompromise and CACompromise make the object Compromised, every other reason Deactivated. After its next restart, a host does not use such a key any more.",
      )
      .argument("<id>")
      .option(
        "--reason <code>",
        Object.keys(enumerations.RevocationReasonCode).join(", "),
        "CessationOfOperation",
      )
      .option("--message <text>", "kept with the object"),
    revoke,
  );
  atServer(
    kmip
      .command("destroy")
      .summary("delete an object's key material for ever")
      .description(
        "Destroy (KMIP 2.1, 6.1). There is no way back. An Active object is revoked first.",
      )
      .argument("<id>"),
    async (client, [id = ""]) => done(await client.destroy({ uniqueIdentifier: id }), "destroyed"),
  );
}

async function revoke(
  client: KmipClient,
  [id = ""]: readonly string[],
  { reason, message }: RevokeOptions,
): Promise<Answer> {
  const codes = Object.keys(enumerations.RevocationReasonCode);
  const code = codes.find((one) => one.toLowerCase() === reason.toLowerCase());
  if (code === undefined) {
    throw new Failure(`--reason ${reason}: must be one of ${codes.join(", ")}`);
  }
  const answer = await client.revoke({
    uniqueIdentifier: id,
    revocationReason: { code: code as Code, ...(message === undefined ? {} : { message }) },
  });
  return done(answer, "revoked");
}

function done({ uniqueIdentifier }: { readonly uniqueIdentifier: string }, what: string): Answer {
  return { lines: [`${uniqueIdentifier} ${what}`], json: { uniqueIdentifier } };
}
