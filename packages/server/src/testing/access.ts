import type { X509Certificate } from "node:crypto";
import {
  roles as allRoles,
  type Contract,
  contract,
  type Handlers,
  type Reply,
  type Role,
  type Route,
} from "@holdfast/admin";
import { InstanceKeyRing, type KeyRing, type SystemRecord } from "@holdfast/engine";
import { MemoryKekStore, MemoryRootOfTrust } from "@holdfast/engine/testing";
import type { Instance } from "../access/instances.ts";
import { LastConnections } from "../access/last-connections.ts";
import { RefusedClients } from "../access/refused-clients.ts";
import { Trust } from "../access/trust.ts";
import { ApprovalsDuty } from "../approvals/approvals-duty.ts";
import { withApprovals } from "../approvals/guarded-handlers.ts";
import { Approvals } from "../approvals/requests.ts";
import { systemClock as clock, systemIds as ids } from "../base/system.ts";
import { policyHandlers } from "../management/approvals/policy-handlers.ts";
import { requestHandlers } from "../management/approvals/request-handlers.ts";
import { InstanceAuthorities } from "../management/authority/instance-authorities.ts";
import { Adding } from "../management/certificates/adding.ts";
import { identifyBy } from "../management/certificates/catalogue.ts";
import { certificateHandlers } from "../management/certificates/certificate-handlers.ts";
import { Ownership } from "../management/certificates/ownership.ts";
import { RecordedTrust } from "../management/certificates/recorded-trust.ts";
import { denialHandlers } from "../management/denials/denial-handlers.ts";
import { RecordedDenials } from "../management/denials/recorded-denials.ts";
import { InstanceLookup } from "../management/instance-lookup.ts";
import { RefusedDirectory } from "../management/refused/refused-directory.ts";
import { refusedHandlers } from "../management/refused/refused-handlers.ts";
import { Bootstrap } from "../management/tokens/bootstrap.ts";
import { TokenBook } from "../management/tokens/token-book.ts";
import { tokenHandlers } from "../management/tokens/token-handlers.ts";
import { userHandlers } from "../management/users/user-handlers.ts";
import { has, Presence } from "../records/presence.ts";
import { instanceRecordId } from "../records/records.ts";
import { type MemoryRegion, MemoryRegions } from "./memory-regions.ts";

/** A caller, and how it differs from an administrator who may do everything. */
export interface Caller {
  readonly roles?: readonly Role[];
  readonly id?: string;
  readonly instances?: readonly string[];
  readonly newId?: string;
  readonly approval?: string;
}

/** Access management of a node in one region, over a store in memory. */
export class TestNode implements AsyncDisposable {
  readonly region: MemoryRegion;
  readonly trust = new Trust();
  readonly refused = new RefusedClients();
  readonly lastConnections = new LastConnections();
  readonly directory: RefusedDirectory;
  readonly book: TokenBook;
  readonly bootstrap: Bootstrap;
  readonly handlers: Partial<Handlers>;
  readonly approvals: Approvals;
  readonly duty: ApprovalsDuty;
  readonly said: string[] = [];
  /** The KMIP server certificates of the node. */
  leaves: readonly X509Certificate[] = [];
  /** Fingerprint → the node of the link that has the certificate. */
  readonly peerNames = new Map<string, string>();
  /** The peer certificates of the link between the regions. */
  link: Parameters<typeof denialHandlers>[0]["link"] = { own: () => undefined, peers: () => [] };
  /** How far the clock of the node is ahead of the others that it knows. */
  aheadMs = 0;
  /** How often a change of the trust was reported. */
  changes = 0;
  readonly #opened = new AsyncDisposableStack();

  constructor(
    region: MemoryRegion,
    keyRing: KeyRing,
    declared: readonly Instance[],
    bootstrapFile: string | undefined,
  ) {
    this.region = region;
    const { view, records, commands, name, events } = region;
    const { wallMs, monotonicMs } = clock;
    const observe = (event: (typeof events)[number]): void => void events.push(event);
    commands.serve({ has: async (input) => ({ had: has(view, input.records) }) });
    const presence = new Presence({ region: name, commands, view, monotonicMs });
    const all = () => declared;
    const instances = new InstanceLookup({ view, declared: all });
    const ownership = new Ownership({ view, declared: all });
    const adding = new Adding({ instances, records, ownership, view, clock });
    const authorities = new InstanceAuthorities({ instances, records, keyRing, clock, ids });
    for (const one of declared) this.trust.declare(one);
    const changed = () => {
      this.changes += 1;
    };
    const { trust } = this;
    const isDeclared = (id: string) => declared.some((one) => one.id === id);
    this.#opened.use(new RecordedTrust({ trust, view, keyRing, observe, isDeclared, changed }));
    this.#opened.use(new RecordedDenials({ trust, view, observe, changed }));
    const node = `${name}1`;
    const { refused } = this;
    this.directory = this.#opened.use(
      new RefusedDirectory({ region: name, node, refused, view, records, clock, observe }),
    );
    this.book = new TokenBook({ view, clock });
    const { book } = this;
    this.bootstrap = this.#opened.use(
      new Bootstrap({
        file: bootstrapFile,
        book,
        observe,
        randomBytes: ids.randomBytes,
        say: (message, fields) => this.said.push(`${message} ${JSON.stringify(fields)}`),
      }),
    );
    const { bootstrap } = this;
    const about = { region: name, node, version: "test" };
    const { approvals, duty, around } = this.#openApprovals(region, node);
    [this.approvals, this.duty] = [approvals, duty];
    const deps = { view, records, presence, approvals, node, ...around };
    const handlers = {
      ...requestHandlers(deps),
      ...policyHandlers(deps),
      ...certificateHandlers({
        ...{ region: name, node, instances },
        records,
        presence,
        adding,
        authorities,
        wallMs,
        refused: this.directory,
        lastConnections: this.lastConnections,
      }),
      ...refusedHandlers(this.directory),
      ...denialHandlers({
        ...{ view, records, presence, region: name, own: region.own, declared: all, wallMs },
        leaves: () => this.leaves,
        link: { own: () => this.link.own(), peers: () => this.link.peers() },
        peerOf: (fingerprint) => this.peerNames.get(fingerprint),
        servers: () => [],
      }),
      ...userHandlers({ instances, records, keyRing, wallMs }),
      ...tokenHandlers({
        book,
        bootstrap,
        instances,
        records,
        presence,
        clock,
        ids,
        about,
        pauseMs: 1,
      }),
    };
    this.handlers = withApprovals(handlers, { approvals, view, identify: identifyBy(instances) });
  }

  #openApprovals(
    { view, records, commands, events, isLinked, name: region }: MemoryRegion,
    node: string,
  ) {
    const { wallMs } = clock;
    const policyMs = () => wallMs() - Math.max(0, this.aheadMs);
    const observe = (event: (typeof events)[number]): void => void events.push(event);
    const around = { wallMs, policyMs, newId: ids.uuid, observe };
    const reachable = () => commands.others.filter(() => isLinked());
    const asking = { region, node, reachable, renewMs: 20 };
    const doubt = () =>
      this.aheadMs === 0 ? undefined : { latestSeconds: 0, reason: "clocks differ" };
    return {
      around,
      approvals: new Approvals({ view, records, ...asking, ...around }),
      duty: new ApprovalsDuty({ region, view, records, wallMs, policyMs, doubt }),
    };
  }

  /** Calls a handler and checks its answer, both as the listener does. */
  async call<Name extends keyof Contract>(
    name: Name,
    given: { readonly params?: object; readonly query?: object; readonly body?: object },
    { roles = allRoles, id = "token", instances, newId = ids.uuid(), approval }: Caller = {},
  ): Promise<Reply<Contract[Name]>> {
    const handler = this.handlers[name] as unknown as (call: object) => Promise<unknown>;
    const { audit }: Route = contract[name];
    const answer = await handler({
      principal: { name: "admin", id, roles, instances, remote: "192.0.2.1" },
      params: given.params ?? {},
      query: { limit: 100, ...given.query },
      body: given.body,
      audit,
      requestId: ids.uuid(),
      newId,
      approval,
      signal: new AbortController().signal,
    });
    return contract[name].answer.parse(answer) as Reply<Contract[Name]>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

/** Two regions with one node each, over stores in memory and a link that can be cut. */
export class TestAccess implements AsyncDisposable {
  readonly regions = new MemoryRegions();
  readonly root = new MemoryRootOfTrust(ids);
  readonly a: TestNode;
  readonly b: TestNode;

  constructor({
    declared = [],
    bootstrapFiles = [],
  }: {
    readonly declared?: readonly Instance[];
    readonly bootstrapFiles?: readonly string[];
  } = {}) {
    const keyRing = new InstanceKeyRing({
      rootOf: () => this.root,
      keks: new MemoryKekStore(),
      clock,
      ids,
      observe: () => undefined,
      region: "a",
      kekCacheMs: 60_000,
      graceMs: 60_000,
    });
    this.a = new TestNode(this.regions.a, keyRing, declared, bootstrapFiles[0]);
    this.b = new TestNode(this.regions.b, keyRing, declared, bootstrapFiles[1]);
  }

  get nodes(): readonly [TestNode, TestNode] {
    return [this.a, this.b];
  }

  /** Creates an instance as an order does; both nodes see it. */
  async instance(
    name: string,
    status: SystemRecord<"Instance">["status"] = "Installed",
    labels: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const instance = ids.uuid();
    const values = { instance, name, status, labels, createdMs: clock.wallMs() };
    const options = { id: instanceRecordId(instance) };
    await this.regions.a.records.create("Instance", values, [], options);
    await this.see();
    return instance;
  }

  /** Gives an instance other labels; both nodes see them. */
  async label(instance: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.regions.a.records.change(
      "Instance",
      instanceRecordId(instance),
      () => ({ labels }),
      [],
    );
    await this.see();
  }

  /** Runs the leaders' duty for approvals once in each region. */
  async tend(): Promise<void> {
    for (const { duty } of this.nodes) {
      await duty.run({ epoch: 1, signal: new AbortController().signal, active: () => true });
    }
    await this.see();
  }

  /** Lets the regions exchange changes, unless the link is cut, and refreshes both nodes from their region's store. */
  async see(): Promise<void> {
    await this.regions.level();
    for (const { region } of this.nodes) await region.view.refresh();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) await node[Symbol.asyncDispose]();
    await this.regions[Symbol.asyncDispose]();
  }
}
