import type { KeyRing } from "@holdfast/engine";
import { RevocationLists } from "../access/crl/revocation-lists.ts";
import { type Instance, loadInstances } from "../access/instances.ts";
import { Trust } from "../access/trust.ts";
import { RecordedTrust } from "../management/certificates/recorded-trust.ts";
import { RecordedDenials } from "../management/denials/recorded-denials.ts";
import type { SystemView } from "../records/system-view.ts";
import { clock, type Parts } from "./node-parts.ts";
import { reloadInstances } from "./reload-instances.ts";

type Ensure = (instances: readonly Instance[]) => Promise<void>;

/** The instances whose clients the node admits: those of the configuration in force, and of the system records. */
export class Tenants {
  readonly trust: Trust;
  readonly revocations: RevocationLists;
  readonly #parts: Parts;
  readonly #listeners = new Set<() => void>();
  #instances: readonly Instance[] = [];
  /** The identifiers in the trust of what the configuration declares. */
  #declared: readonly string[] = [];
  #reloading = Promise.resolve();
  #view: Pick<SystemView, "all"> | undefined;
  #recorded: RecordedTrust | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { config, observe, opened } = parts;
    const { wallMs, monotonicMs } = clock;
    const times = { wallMs, monotonicMs, random: Math.random };
    this.revocations = opened.use(new RevocationLists(config.crls, { ...times, observe }));
    this.trust = new Trust([], this.revocations);
    this.revocations.onChange(() => this.#tell());
    this.#use(loadInstances(parts.config.instances));
  }

  /** Those of the configuration. */
  get instances(): readonly Instance[] {
    return this.#instances;
  }

  /** Whether the configuration declares an instance; the management API then does not manage it. */
  readonly isDeclared = (instance: string): boolean =>
    this.#instances.some(({ id }) => id === instance);

  /** Calls `listener` after each change of the trust. */
  onTrust(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** From now on also admits the clients that the system records name. */
  follow(view: SystemView, keyRing: Pick<KeyRing, "open">): Disposable {
    this.#view = view;
    const { isDeclared, trust } = this;
    const { observe } = this.#parts;
    const changed = () => this.#changed();
    const recorded = new RecordedTrust({ trust, view, keyRing, isDeclared, observe, changed });
    const denials = new RecordedDenials({ trust, view, observe, changed });
    this.#recorded = recorded;
    this.#changed();
    const following = new DisposableStack();
    following.use(recorded);
    following.use(denials);
    return following;
  }

  /** Reads the configuration's instances and the revocation lists again. One reload after another: the older one must not take effect last. */
  reload(ensure: Ensure): Promise<void> {
    const next = () => this.#reload(ensure);
    this.#reloading = this.#reloading.then(next, next);
    const lists = this.revocations.reload();
    return this.#reloading.then(() => lists);
  }

  async #reload(ensure: Ensure): Promise<void> {
    const { configFile, config, log } = this.#parts;
    // A new instance needs the store; a removed one is cut off even if the store cannot be reached.
    const known = new Set(this.#instances.map(({ id }) => id));
    const ensureNew: Ensure = (all) => ensure(all.filter(({ id }) => !known.has(id)));
    const newer = await reloadInstances(configFile, config, ensureNew, log);
    if (newer === undefined) return;
    this.#use(newer);
    this.#recorded?.lookAtAll();
    this.#changed();
  }

  #use(instances: readonly Instance[]): void {
    for (const id of this.#declared) this.trust.remove(id);
    this.#instances = instances;
    this.#declared = instances.flatMap((instance) => this.trust.declare(instance));
  }

  #changed(): void {
    const recorded = (this.#view?.all("Instance") ?? []).flatMap(({ instance, name, destroyed }) =>
      destroyed === undefined ? [{ id: instance, name }] : [],
    );
    this.#parts.log.nameInstances([...recorded, ...this.#instances]);
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
