import { readFile } from "node:fs/promises";
import { AdminClient } from "@holdfast/admin";
import { answerOf, until } from "@holdfast/testing";
import type { NodeProcess } from "./node-process.ts";

/** How to reach the management API of a node. */
export interface AdminTarget {
  readonly node: NodeProcess;
  /** PEM of the authority that issued the node's certificate. */
  readonly ca: string;
}

/** A client of one node's management API. */
export function adminClient({ node, ca }: AdminTarget, token: string): AdminClient {
  return new AdminClient({ urls: [`https://${node.host}:${node.admin}`], token, ca });
}

/** Waits for the one-time token of a node, and returns it. */
export async function oneTimeToken(node: NodeProcess): Promise<string> {
  let token = "";
  await until(`the one-time token of ${node.name}`, async () => {
    token = (await readFile(node.bootstrapFile, "latin1").catch(() => "")).trim();
    return token !== "";
  });
  return token;
}

/**
 * Makes the first token, of somebody who manages and decides who is a client, with a node's one-time token. On a busy
 * machine the first answer may be lost, or come before the node sees its own record: then it asks again.
 */
export function firstToken(target: AdminTarget, name = "test"): Promise<string> {
  const make = async () => {
    await using client = adminClient(target, await oneTimeToken(target.node));
    const { secret } = await client.call("createToken", {
      body: { name, roles: ["manager", "security-officer"] },
    });
    return secret;
  };
  return answerOf("the first token", make, () => true);
}
