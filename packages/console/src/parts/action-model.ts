import { AdminProblem } from "@holdfast/admin/errors";
import { signal } from "@preact/signals";
import { call, type LooseRequest, who } from "../base/api.ts";
import { type Operation, type OperationName, operations, type Schema } from "../base/contract.ts";
import { words } from "../base/text.ts";

/** Values by the name of their field. */
export type Given = Readonly<Record<string, unknown>>;

/** An operation that a person has begun. */
export interface Action {
  readonly name: OperationName;
  readonly params: Readonly<Record<string, string>>;
  /** What it is done to, in words: a name or an identifier. */
  readonly target: string;
  /** The thing as it was read: a change begins with its values. */
  readonly thing?: Given | undefined;
  /** The approved request that has exactly the values of `given`. */
  readonly approval?: string;
  /** Values that the form begins with; the person may change them. */
  readonly given?: Given;
  /** The node that it is done at, where it concerns the region of that node; any node unless given. */
  readonly at?: string | undefined;
}

/** Refusals after which a person may insist. */
const insistable: readonly string[] = ["keysRemain", "keyActive", "confirmationNeeded"];

/** What buttons say where the words of the command would mislead. */
const titles: Partial<Record<OperationName, string>> = {
  signRequest: "Sign a request",
  issuePair: "Issue certificate and key",
  adoptCertificate: "Admit a refused client",
  reportOrphans: "Find unused keys",
  retrieveRootKeys: "List root keys",
  shredInstance: "Shred keys",
  addDenial: "Shut out a client",
  removeDenial: "Remove from the list",
  signApproval: "Hand in signatures",
  changeApprovalPolicy: "Change policy",
  stopApprovalPolicy: "Stop a change",
  runBackup: "Run a backup",
  verifyBackup: "Verify",
  planRestore: "Restore plan",
};

/** Operations that the service carries out without a question, and whose target a person types again all the same. */
const alsoConfirmed: Partial<Record<OperationName, string>> = {
  revokeKey: "the identifier of the key",
};

/** What a person types again before an operation is sent, such as `the name of the instance`; undefined if nothing. */
export function confirmedBy(name: OperationName): string | undefined {
  return operations[name].command.confirm?.of ?? alsoConfirmed[name];
}

/** What the button of an operation says: `Create token`. */
export function actionText(name: OperationName): string {
  const [thing = "", verb = ""] = operations[name].command.words.split(" ");
  const usual = verb === "" ? words(thing) : `${words(verb)} ${thing.replaceAll("-", " ")}`;
  return titles[name] ?? usual;
}

/** An operation on its way from the form to its answer. */
export class ActionModel {
  readonly action: Action;
  readonly operation: Operation;
  /** Parameters of the path that the page does not give. */
  readonly missing: readonly string[];
  readonly params = signal<Readonly<Record<string, string>>>({});
  readonly given = signal<Given>({});
  /** What the person typed to confirm. */
  readonly typed = signal("");
  /** The approved request that the call uses; empty if it needs none. */
  readonly approval = signal("");
  readonly error = signal<unknown>(undefined);
  /** Whether a dry run succeeded, and nothing was changed in the form since. */
  readonly checked = signal(false);
  readonly busy = signal(false);
  /** Whether the service has refused, and the person may insist. */
  readonly insists = signal(false);
  /** The answer, where it has something to show. */
  readonly answer = signal<Given | undefined>(undefined);
  readonly #done: (answer: Given) => void;
  /** The values with which a change began. */
  readonly #before: Given;
  /** A repetition of the same request has the same key, so that nothing is done twice. */
  #key = crypto.randomUUID();

  constructor(action: Action, done: (answer: Given) => void) {
    this.action = action;
    this.operation = operations[action.name];
    this.approval.value = action.approval ?? "";
    this.missing = this.operation.params.filter((name) => action.params[name] === undefined);
    const { method, body } = this.operation;
    const isChange = method === "PATCH" && body !== undefined && action.thing !== undefined;
    this.#before = isChange ? partOf(action.thing, body) : {};
    // Without a region it is that of the node that is asked, which may be another one when the form is sent.
    const here = body?.properties?.["region"] === undefined ? {} : { region: who.peek()?.region };
    this.given.value = { ...here, ...this.#before, ...action.given };
    this.#done = done;
  }

  /** Whether the person must type the target again before anything is sent. */
  get confirms(): boolean {
    return confirmedBy(this.action.name) !== undefined;
  }

  get mayGo(): boolean {
    return !this.busy.value && (!this.confirms || this.typed.value.trim() === this.action.target);
  }

  /** Fields of the schemas that the form does not show. */
  get hidden(): readonly string[] {
    const { confirm } = this.operation.command;
    return ["limit", "cursor", confirm?.when, confirm?.field].filter((name) => name !== undefined);
  }

  /** The request of the form as it is. */
  get request(): LooseRequest {
    const { query, body, command } = this.operation;
    const { field, when } = command.confirm ?? {};
    const isConfirmed = field !== undefined && (when === undefined || this.insists.value);
    const all: Given = {
      ...this.given.value,
      ...(isConfirmed && { [field]: this.typed.value.trim() }),
      ...(isConfirmed && when !== undefined && { [when]: "true" }),
    };
    return {
      params: { ...this.action.params, ...this.params.value },
      ...(query === undefined ? {} : { query: partOf(all, query) }),
      ...(body === undefined ? {} : { body: changed(partOf(all, body), this.#before) }),
    };
  }

  change(next: Given): void {
    this.given.value = next;
    this.#key = crypto.randomUUID();
    // A request that was approved before has no secrets, which a person types here.
    this.approval.value = this.action.approval ?? "";
    this.checked.value = false;
  }

  /** Sends the request; with `dryRun` the service only says whether it would do it. */
  async carryOut(dryRun: boolean): Promise<void> {
    if (!this.mayGo) return;
    this.busy.value = true;
    this.error.value = undefined;
    const approval = this.approval.value.trim();
    // A page need not show the newest version, and a deletion shows by itself what would be lost.
    const version = this.operation.method === "PATCH" ? this.action.thing?.["version"] : undefined;
    try {
      const answer = await call(this.action.name, this.request, {
        idempotencyKey: this.#key,
        dryRun,
        ifMatch: typeof version === "string" ? version : undefined,
        approval: approval === "" ? undefined : approval,
        at: this.action.at,
      });
      this.checked.value = dryRun;
      if (!dryRun) this.#show(answer);
    } catch (error) {
      this.#refused(error);
    } finally {
      this.busy.value = false;
    }
  }

  /** Reads the next page of the list that was found, and adds it. */
  async more(): Promise<void> {
    const { next, items, matched } = this.answer.value ?? {};
    if (typeof next !== "string" || !Array.isArray(items)) return;
    this.busy.value = true;
    this.error.value = undefined;
    try {
      const { request } = this;
      const query = { ...request.query, cursor: next };
      const page = await call(this.action.name, { ...request, query });
      const sum = Number(matched) + Number(page["matched"]);
      this.answer.value = {
        ...page,
        items: [...items, ...(page["items"] as readonly unknown[])],
        ...(typeof matched === "number" && { matched: sum }),
      };
    } catch (error) {
      this.error.value = error;
    } finally {
      this.busy.value = false;
    }
  }

  /** Ends the action once a person has seen its answer. */
  finish(): void {
    this.#done(this.answer.value ?? {});
  }

  /** The page shows a thing that was made or changed by itself; all else is shown here. */
  #show(answer: Given): void {
    const { output } = this.operation.command;
    this.answer.value = answer;
    const isThing = ["id", "name", "version"].some((field) => answer[field] !== undefined);
    if (output === undefined && answer["warning"] === undefined && isThing) this.finish();
  }

  #refused(error: unknown): void {
    this.error.value = error;
    if (!(error instanceof AdminProblem)) return;
    if (this.confirms && insistable.includes(error.code)) this.insists.value = true;
    if (error.code === "approvalNeeded") {
      this.approval.value = String(error.document["request"] ?? "");
    }
  }
}

function partOf(all: Given, { properties = {} }: Schema): Given {
  return Object.fromEntries(
    Object.keys(properties).flatMap((field) =>
      all[field] === undefined ? [] : [[field, all[field]] as const],
    ),
  );
}

/** The values that differ from those before; a text or a list that was emptied is sent empty. */
function changed(now: Given, before: Given): Given {
  const emptied = Object.entries(before).flatMap(([name, value]) =>
    now[name] === undefined ? [[name, typeof value === "string" ? "" : {}] as const] : [],
  );
  const differs = Object.entries(now).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name]),
  );
  return Object.fromEntries([...emptied, ...differs]);
}
