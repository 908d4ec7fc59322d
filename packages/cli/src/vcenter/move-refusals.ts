import { OperatorError } from "@holdfast/server/operator-error";
import { Failure } from "../terminal/failure.ts";
import { type KeyProviders, namesOf } from "./key-provider.ts";
import type { Move } from "./move.ts";
import { objectsOf } from "./property-collector.ts";
import type { Vcenter } from "./vi-json.ts";

/** Nothing is moved between providers that are not safe, not there, or not green. */
export async function refuseUnready(
  providers: KeyProviders,
  { from, to }: Pick<Move, "from" | "to">,
): Promise<void> {
  if (from === to) throw new Failure("--to: is the provider of --from");
  const known = await providers.list();
  const unsafe = known.find(
    ({ id, managementType, hasBackup }) =>
      [from, to].includes(id) && managementType === "nativeProvider" && hasBackup === false,
  );
  if (unsafe !== undefined) {
    throw new OperatorError(
      `${unsafe.id} is a Native Key Provider without a backup: if this vCenter is lost, all that it encrypts is lost: back it up first (vSphere Client, vCenter, Configure, Key Providers); nothing was changed`,
      "conflicting",
    );
  }
  if (!known.some(({ id }) => id === from)) {
    throw new Failure(
      `--from ${from}: this vCenter has no such key provider; it has ${namesOf(known)}`,
    );
  }
  const target = known.find(({ id }) => id === to);
  if (target === undefined) {
    throw new Failure(
      `--to ${to}: this vCenter has no such key provider: use \`holdfast vcenter connect\``,
    );
  }
  const { overall } = await providers.status(target);
  if (overall === "green") return;
  if (overall === "yellow") {
    throw new OperatorError(
      `${to} is yellow in this vCenter: a certificate ends soon, or a server does not answer (\`holdfast vcenter status\` shows which); \`holdfast vcenter connect\` renews vCenter's own certificate; nothing was changed`,
      "again",
    );
  }
  throw new OperatorError(
    `${to} is ${overall} in this vCenter, so machines would not get its keys: look at \`holdfast vcenter status\` first; nothing was changed`,
    "again",
  );
}

/** A name that is not there would move nothing; one of several machines would move them all. */
export async function refuseUnknown(
  vcenter: Vcenter,
  type: "VirtualMachine" | "ClusterComputeResource",
  option: string,
  names: readonly string[],
): Promise<void> {
  if (names.length === 0) return;
  const counts = new Map<string, number>();
  for await (const { values } of objectsOf(vcenter, type, ["name"])) {
    const name = String(values["name"]);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const wrong = names.find((name) => counts.get(name) !== 1);
  if (wrong === undefined) return;
  const count = counts.get(wrong) ?? 0;
  const kind = type === "VirtualMachine" ? "machine" : "cluster";
  throw new Failure(
    `${option} ${wrong}: this vCenter has ${count === 0 ? `no ${kind}` : `${count} ${kind}s`} of this name`,
  );
}
