import { type Handlers, ManagementError } from "@holdfast/admin";
import type { SystemRecord } from "@holdfast/engine";
import { shredsInForce } from "../records/keys-order.ts";
import { refuseBound } from "../records/refusals.ts";
import { givenSecret } from "./given-root.ts";
import type { Roots } from "./open/roots.ts";
import type { RootPeerHandlers } from "./peer-handlers.ts";
import type { RootOrders } from "./root-orders.ts";
import { rootProblem } from "./root-problem.ts";
import { type RootStatus, reportOf, rootStatusOf, withVendors } from "./root-status.ts";

export interface RootHandlersDeps {
  readonly region: string;
  readonly kind: RootStatus["type"];
  readonly roots: Pick<Roots, "record" | "keks" | "instances">;
  readonly orders: RootOrders;
  readonly here: Pick<RootPeerHandlers, "revalidateRoot">;
  /** The status as known to this region. */
  readonly status: (instance: string) => RootStatus;
  /** Whether an instance is declared in the configuration file. */
  readonly declared: (instance: string) => boolean;
  /** Called after an instance was put under roots of trust, with who did it: the instance may be Installed now. */
  readonly configured?: (
    instance: string,
    call: Parameters<RootHandlers["configureRoot"]>[0],
  ) => Promise<void>;
}

type RootHandlers = Pick<
  Handlers,
  | "retrieveRootKeys"
  | "configureRoot"
  | "readRoot"
  | "revalidateRoot"
  | "shredInstance"
  | "rewrapRoot"
  | "reportRoots"
>;

const configurable: ReadonlySet<string | undefined> = new Set([
  "Inactive",
  "Configuring",
  "Installed",
]);

/** The handlers of the routes for roots of trust. */
export function rootHandlers(deps: RootHandlersDeps): RootHandlers {
  const { orders, roots, region } = deps;
  return {
    retrieveRootKeys: async ({ body }) => {
      const where = body.region ?? region;
      if (!orders.regions.includes(where)) {
        throw new ManagementError("invalid", `region: unknown region ${where}`);
      }
      return { region: where, items: await orders.rootKeys(where, body.root) };
    },
    configureRoot: async (call) => {
      const { instance } = call.params;
      const { status } = found(deps, instance);
      if (deps.declared(instance)) {
        const detail = "its root of trust is set in the configuration: rootOfTrust of every node";
        throw new ManagementError("declared", detail);
      }
      if (!configurable.has(status)) {
        throw new ManagementError("wrongState", `the instance is ${status}`);
      }
      refuseBorrowed(call);
      const checked = await orders.check(call.body.regions, call.principal.instances);
      const done = await orders.configure(call, instance, checked);
      await deps.configured?.(instance, call);
      return done;
    },
    readRoot: async ({ params }) => ({ regions: statuses(deps, params.instance) }),
    revalidateRoot: async (call) => {
      const { instance } = call.params;
      const shredded = shredsInForce(found(deps, instance));
      if (Object.keys(shredded).length > 0 && !call.principal.roles.includes("manager")) {
        const detail =
          "a manager shredded the instance's keys, and only a manager opens them again";
        throw new ManagementError("forbidden", detail);
      }
      return { regions: await revalidated(deps, call, shredded) };
    },
    shredInstance: async (call) => {
      const { instance } = call.params;
      if (found(deps, instance).name !== call.body.name) {
        throw new ManagementError("confirmationNeeded", "type the instance's exact name");
      }
      const applied = await orders.shred(call, instance, call.newId);
      const regions = Object.entries(applied).map(([name, state]) => [
        name,
        state === "applied" ? ("shredded" as const) : ("pending" as const),
      ]);
      return { regions: Object.fromEntries(regions) };
    },
    rewrapRoot: async (call) => {
      const { instance } = call.params;
      found(deps, instance);
      const rewrapped = await orders.rewrap(call, instance).catch((error: unknown) => {
        throw rootProblem(error);
      });
      return { rewrapped, items: [...reportOf(roots, instance, orders.regions)] };
    },
    reportRoots: async () =>
      withVendors([
        ...(await orders.storageKeys()),
        ...roots.instances().flatMap((instance) => reportOf(roots, instance, orders.regions)),
      ]),
  };
}

/** Secrets on the nodes are shared: a token bound to instances could use another tenant's, so this refuses them. */
function refuseBorrowed(
  call: Pick<Parameters<RootHandlers["configureRoot"]>[0], "principal" | "body">,
): void {
  const borrowed = Object.values(call.body.regions).some((root) => {
    const secret = givenSecret(root);
    return secret !== undefined && !("value" in secret);
  });
  if (!borrowed) return;
  const says =
    "a token bound to instances must give the secret itself; only tokens that are not bound may name files and variables of the nodes";
  refuseBound(call, says);
}

function found({ roots }: RootHandlersDeps, instance: string): SystemRecord<"Instance"> {
  const record = roots.record(instance);
  if (record === undefined) throw new ManagementError("notFound", "instance not found");
  return record;
}

function statuses(deps: RootHandlersDeps, instance: string): Record<string, RootStatus> {
  const record = found(deps, instance);
  const all = deps.orders.regions.map((region) => [
    region,
    region === deps.region ? deps.status(instance) : rootStatusOf(record, region, deps.kind),
  ]);
  return Object.fromEntries(all);
}

/** If another region cannot be reached, its nodes revalidate once they see the order; this returns its known state. */
async function revalidated(
  deps: RootHandlersDeps,
  call: Parameters<RootHandlers["revalidateRoot"]>[0],
  shredded: ReturnType<typeof shredsInForce>,
): Promise<Record<string, RootStatus>> {
  const { instance } = call.params;
  try {
    return { ...(await deps.orders.revalidate(call, instance, shredded)) };
  } catch (error) {
    if (!(error instanceof ManagementError && error.code === "peerUnreachable")) throw error;
    await deps.here.revalidateRoot({ instance });
    const known = statuses(deps, instance);
    return Object.fromEntries(
      Object.entries(known).map(([region, status]) =>
        region === deps.region
          ? [region, status]
          : [region, { ...status, reason: `ordered; not confirmed: ${error.message}` }],
      ),
    );
  }
}
