import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AdminProblem } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { holdfast } from "./command-line.ts";
import type { ConsoleCluster } from "./console-cluster.ts";

/** Why the break-glass key signs. */
const reason = ["--reason", "of a test"];

/**
 * Approvers of a development cluster, with keys in files of a folder: alice and bob, who must both sign, and the
 * break-glass key safe. Only tokens with a leading role need them.
 */
export class Approvers {
  readonly #cluster: ConsoleCluster;
  readonly #folder: string;
  readonly #keys = new Map<string, string>();

  constructor(cluster: ConsoleCluster, folder: string) {
    this.#cluster = cluster;
    this.#folder = folder;
  }

  /** Puts the first policy, named `first`, in force. */
  async begin(): Promise<void> {
    for (const name of ["alice", "bob", "safe"]) {
      const out = ["--key-out", this.file(`${name}.key`)];
      this.#keys.set(name, await approval("key", "create", "--name", name, ...out));
    }
    const { signatures } = await this.policy("first", undefined, ["alice", "bob", "safe"]);
    await writeFile(this.file("all.sig"), signatures);
    const given = ["--file", this.file("first"), "--signatures", this.file("all.sig")];
    const config = ["--config", this.#cluster.configFile("a1")];
    await until("the policy is in force", async () => {
      const begun = await holdfast("approval", "init", ...config, ...given);
      const { items } = await this.#cluster.admin.call("readApprovalPolicy", {});
      return items[0]?.state === "in-force" || new Error(begun.err);
    });
  }

  /** A policy that follows another one, signed by these. */
  async policy(
    name: string,
    after: string | undefined,
    by: readonly string[],
  ): Promise<{ readonly text: string; readonly signatures: string }> {
    const key = (one: string) => this.#keys.get(one) ?? "";
    const who = ["alice", "bob"].flatMap((one) => ["--approver", key(one)]);
    const more = after === undefined ? [] : ["--after", this.file(after)];
    const glass = ["--break-glass", key("safe"), "--action", "give-role"];
    const out = ["--out", this.file(name)];
    await approval("draft", "--approvals", "2", ...who, ...glass, ...more, ...out);
    const lines: string[] = [];
    for (const one of by) lines.push(await this.signed(one, this.file(name)));
    return { text: await readFile(this.file(name), "utf8"), signatures: lines.join("") };
  }

  /** The line with which one of them signs what the arguments of `approval sign` name. */
  async signed(who: string, ...what: readonly string[]): Promise<string> {
    const out = this.file(`${crypto.randomUUID()}.sig`);
    const how = ["--key", this.file(`${who}.key`), ...(who === "safe" ? reason : [])];
    await approval("sign", ...what, ...how, "--yes", "--out", out);
    return await readFile(out, "utf8");
  }

  /** A request for a token of a manager; its document is in the file of its identifier. */
  async request(name: string): Promise<string> {
    const { admin } = this.#cluster;
    const body = { name, roles: ["manager" as const] };
    const made = admin.call("createToken", { body });
    const error: unknown = await made.catch((thrown: unknown) => thrown);
    if (!(error instanceof AdminProblem) || error.code !== "approvalNeeded") throw error;
    const approval = String(error.document["request"]);
    const { document } = await admin.call("readApproval", { params: { approval } });
    await writeFile(this.file(approval), document);
    return approval;
  }

  /** The path of a file of theirs. */
  file(name: string): string {
    return join(this.#folder, name);
  }
}

/** Runs a command of approvers; answers what it printed. */
async function approval(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await holdfast("approval", ...args);
  if (code !== 0) throw new Error(`holdfast approval ${args[0]}: ended with ${code}: ${err}`);
  return out.trim();
}
