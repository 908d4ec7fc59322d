import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { firstToken, patientClient } from "./admin-api.ts";
import { startTwoRegions, type TwoRegions } from "./two-regions.ts";
import { allWell } from "./vitals.ts";

/** Two regions with the management API, and an instance that was ordered there and is Installed. */
export interface ManagedRegions extends AsyncDisposable {
  readonly both: TwoRegions;
  readonly instance: string;
  /** A node's client, of somebody who manages and decides who is a client. */
  readonly at: (node: string) => AdminClient;
  /** A command's options for a node. */
  readonly site: (node: string) => readonly string[];
}

/** Starts them; files that `site` names are made in the folder. `prepare` works before the nodes start. */
export async function startManagedRegions(
  folder: string,
  prepare: (both: TwoRegions) => Promise<void> = async () => undefined,
): Promise<ManagedRegions> {
  await using stack = new AsyncDisposableStack();
  const shape = { instances: ["declared"], replicas: 0, admin: true, unstarted: true };
  const both = stack.use(await startTwoRegions(shape));
  await prepare(both);
  await Promise.all(both.nodes.map((node) => node.start()));
  await allWell(both);
  const { ca } = both.a;
  const token = await firstToken({ node: both.node("a1"), ca });
  const files = { ca: join(folder, "ca.pem"), token: join(folder, "token") };
  await writeFile(files.ca, ca);
  await writeFile(files.token, token, { mode: 0o600 });
  const clients = new Map(
    both.nodes.map((node) => [node.name, stack.use(patientClient({ node, ca }, token))]),
  );
  const at = (node: string) => clients.get(node) as AdminClient;
  const local = { type: "local" } as const;
  const body = { name: "kmip-aa", rootOfTrust: { regions: { a: local, b: local } } };
  const { id: instance } = await at("a1").call<"createInstance">("createInstance", { body });
  await until("it is Installed", async () => {
    return (await at("a1").call("readInstance", { params: { instance } })).status === "Installed";
  });
  const site = (name: string): readonly string[] => {
    const { host, admin } = both.node(name);
    return ["--url", `https://${host}:${admin}`, "--ca", files.ca, "--token-file", files.token];
  };
  const all = stack.move();
  return { both, instance, at, site, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
