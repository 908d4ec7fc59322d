import {
  type InstanceKeyRing,
  ObjectKekStore,
  type RootOfTrust,
  RootOfTrustError,
  readKekRecord,
  StoreUnavailable,
} from "@holdfast/engine";
import { type Duty, Reseal } from "@holdfast/regions";
import { openRootOfTrust, type RootContext } from "@holdfast/root-of-trust";
import { rootKind } from "@holdfast/root-of-trust/kinds";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";
import type { Environment } from "../../base/system.ts";
import { addSeals, Rekey, rekeyings, rekeyReadings } from "../../management/rekey/rekey.ts";
import type { RootReadings } from "../../observe/metrics/metric-row.ts";
import type { RootReference } from "../../records/root-reference.ts";
import type { Sealer } from "../../roots/given-root.ts";
import { Roots } from "../../roots/open/roots.ts";
import { rootPeerHandlers } from "../../roots/peer-handlers.ts";
import { RewrapKeks } from "../../roots/rewrap-keks.ts";
import { type RootHandlersDeps, rootHandlers } from "../../roots/root-handlers.ts";
import { RootOrders } from "../../roots/root-orders.ts";
import {
  holderOf,
  openDefaultRoot,
  openSealingKey,
  rootContext,
  rootSettingsOf,
  type SecretPlaces,
  sealSecret,
} from "../../roots/root-settings.ts";
import { readingsOf, rootStatusOf } from "../../roots/root-status.ts";
import { RootWatch } from "../../roots/root-watch.ts";
import { RotateStorageKey, storageKeyHandlers } from "../../roots/storage-key-rotation.ts";
import { StorageKeyWraps } from "../../roots/storage-key-wraps.ts";
import { ValidateRoots } from "../../roots/validate-roots.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import type { Regions } from "../node-regions.ts";
import { openKeyRing, requiredRegions } from "../node-store.ts";
import type { Management } from "./node-management.ts";

/** The configuration's root of trust, and what other roots of trust are opened with. */
export interface DefaultRoot {
  readonly root: RootOfTrust;
  readonly context: RootContext;
  readonly places: SecretPlaces;
}

/** The roots of trust of a node, and what depends on them. */
export interface NodeRoots {
  readonly keyRing: InstanceKeyRing;
  readonly orders: RootOrders;
  readonly duties: readonly Duty[];
  /** The regions that must have wrapped a KEK before it seals. */
  readonly required: () => readonly string[];
  readonly readings: RootReadings;
  readonly storageKeys: StorageKeyWraps;
  /** The routes; `configured` is called with an instance that was put under roots of trust. */
  readonly handlers: (
    configured?: RootHandlersDeps["configured"],
  ) => ReturnType<typeof rootHandlers> & ReturnType<typeof storageKeyHandlers>;
}

/** How long a state that does not change is not written again. */
const stateAgainMs = 300_000;

/** What a node has counted and not added yet is lost if it is killed. */
const addSealsEveryMs = 60_000;

/** An instance whose record this node has not seen yet. */
const unseen = { root: {}, rootNext: {}, rootLeft: {}, state: {}, shredded: {}, opened: {} };

/** Opens the configuration's root of trust. A file that does not work ends the start; a key manager may come back. */
export async function openDefault(parts: Parts, environment: Environment): Promise<DefaultRoot> {
  const { config, observe, opened, health } = parts;
  const context = rootContext({ clock, ids }, observe);
  const root = await openDefaultRoot(config, environment, context);
  opened.defer(() => root.close());
  const sealingKey = await openSealingKey(config, ids);
  if (sealingKey !== undefined) opened.use(sealingKey);
  try {
    await root.probe();
    health.rootOfTrust("ok", "");
  } catch (error) {
    if (rootKind(root.kind)?.onNode) throw new OperatorError(`rootOfTrust: ${reasonOf(error)}`);
    // A refusal concerns only the instances of this root; an unreachable one has opened no key yet.
    const refuses = error instanceof RootOfTrustError && error.failure !== "unavailable";
    health.rootOfTrust(refuses ? "degraded" : "unreachable", reasonOf(error));
    observe({ type: "warning", message: `rootOfTrust: ${reasonOf(error)}` });
  }
  return { root, context, places: { environment, sealingKey } };
}

/** Opens what serves the instances' keys, and carries out the orders for their roots of trust. */
export async function openRoots(
  parts: Parts,
  regions: Regions,
  { view, records, commands }: Management,
  own: DefaultRoot,
  declared: (instance: string) => boolean,
): Promise<NodeRoots> {
  const { config, opened, health } = parts;
  const { region, node } = config;
  const { graceMs, revalidateMs, type: kind } = config.rootOfTrust;
  const open = opening(parts, own);
  let watch: RootWatch | undefined;
  const roots = opened.use(
    new Roots({
      region,
      view,
      clock,
      open: async (reference) => (reference === undefined ? own.root : await open(reference)),
      changed: (instances, state) => {
        watch?.changed(instances, state);
        if (state.ok === true) regions.joining.rules?.rootAnswers();
      },
    }),
  );
  const keyRing = openKeyRing(parts, regions, (...of) => roots.rootOf(...of));
  watch = opened.use(new RootWatch({ region, roots, keyRing, view, health, clock, revalidateMs }));
  // The default root serves all instances that name no other, and is probed even if there are none.
  await roots.of(undefined);
  const validate = new ValidateRoots({
    ...{ region, node, roots, keyRing, records, clock, graceMs },
    requestId: ids.uuid,
    makesFirst: () => commands.others.every((other) => region < other),
    againMs: Math.max(stateAgainMs, revalidateMs),
    everyMs: revalidateMs,
  });
  const keks = new ObjectKekStore(regions.store, { clock, region });
  const { rekey, required } = openRekey(parts, regions, { view, records }, keyRing);
  const rewrap = new RewrapKeks({
    ...{ region, roots, keyRing, keks, own: regions.own, records, clock, everyMs: revalidateMs },
  });
  const storageKeys = opened.use(
    new StorageKeyWraps({
      ...{ region, own: regions.own, root: () => roots.of(undefined), everyMs: revalidateMs },
    }),
  );
  const rotation = new RotateStorageKey(regions.own);
  const seal: Sealer = async (named, secret) => {
    const { sealingKey } = own.places;
    if (sealingKey !== undefined) return await sealSecret(sealingKey, named, secret);
    throw new OperatorError(
      `sealingKeyFile: region ${region} has none: name the secret in the environment or a file, or run \`holdfast sealing-key init\``,
    );
  };
  const refresh = () => view.refresh();
  const status = (instance: string) => {
    const record = roots.record(instance) ?? unseen;
    return rootStatusOf(record, region, kind, keyRing.statusOf(instance));
  };
  const here = rootPeerHandlers({
    ...{ roots, rewrap, validate, keyRing, refresh, status, open, seal, storageKeys },
    holderOf: (named) => holderOf(config, named),
  });
  commands.serve(here);
  const newId = ids.uuid;
  const orders = new RootOrders({ region, here, commands, roots, records, clock, newId });
  return {
    keyRing,
    orders,
    duties: [validate, rewrap, rekey, rotation],
    storageKeys,
    required,
    readings: {
      ...readingsOf({ region, roots, keyRing, clock, storageKeys: () => storageKeys.counts() }),
      ...rekeyReadings({ region, view, required }),
      storageKeyLeft: () => rotation.left,
    },
    handlers: (configured) => ({
      ...rootHandlers({
        ...{ region, kind, roots, orders, here, status, declared },
        ...(configured && { configured }),
      }),
      ...storageKeyHandlers({
        ...{ region, own: regions.own, root: () => roots.of(undefined) },
        ...{ randomBytes: ids.randomBytes, records, clock },
      }),
    }),
  };
}

/** Opens what moves an instance to another KEK: the leader's duty, and what every node counts and notices. */
function openRekey(
  parts: Parts,
  regions: Regions,
  { view, records }: Pick<Management, "view" | "records">,
  keyRing: InstanceKeyRing,
): { readonly rekey: Duty; readonly required: () => readonly string[] } {
  const { config, observe, opened } = parts;
  const { region, node } = config;
  const { own, store } = regions;
  const required = requiredRegions(parts, regions);
  const stop = view.onChange((changed) => {
    for (const object of changed) {
      const instance = readKekRecord(object)?.instance;
      if (instance !== undefined) keyRing.lookAgain(instance);
    }
  });
  opened.defer(stop);
  const add = () =>
    addSeals(keyRing.seals, records, region).catch((cause: unknown) => {
      observe({ type: "warning", message: "seals were not added to their KEK's record", cause });
    });
  opened.adopt(
    setInterval(() => void add(), addSealsEveryMs),
    clearInterval,
  );
  opened.defer(add);
  const wanted = async () => rekeyings(view, required());
  const reseal = new Reseal({ own, keyRing, timers: clock, wanted });
  const storeOf = async (of: string): Promise<string> => {
    const source = of === region ? own : regions.peers.find((peer) => peer.region === of);
    if (source === undefined)
      throw new StoreUnavailable("peerUnreachable", `region ${of} is unknown`);
    return (await source.position()).replicationId;
  };
  const rekey = new Rekey({
    ...{ region, node, required, own, storeOf, store, view, records, keyRing, reseal, clock },
    restorable: regions.restorable,
    requestId: ids.uuid,
    keepMs: config.rootOfTrust.keepKeksMs,
  });
  return { rekey, required };
}

/** Opens what an instance's record names. */
function opening({ config }: Parts, { context, places }: DefaultRoot) {
  return (reference: RootReference): Promise<RootOfTrust> =>
    openRootOfTrust(rootSettingsOf(config, places, reference), context);
}
