import { AdminProblem } from "@holdfast/admin/errors";
import { signal } from "@preact/signals";
import { call, type LooseRequest } from "../base/api.ts";
import { type Operation, type OperationName, operations, type Schema } from "../base/contract.ts";
import { words } from "../base/text.ts";

/** Values by the name of their field. */
export type Given = Readonly<Record<string, unknown>>;

/** An operation that a person has begun. */
export interface Action {
  readonly name: OperationName;
  readonly params: Readonly<Record<string, string>>;
  /** Values that are filled in. */
  readonly given?: Given;
  /** The version of what is changed. */
  readonly version?: string | undefined;
}

/** Refusals after which a person may confirm and go on. */
const confirmable: readonly string[] = ["keysRemain", "keyActive", "confirmationNeeded"];

/** What the button of an operation says: `Create token`. */
export function actionText(name: OperationName): string {
  const [thing = "", verb = ""] = operations[name].command.words.split(" ");
  return verb === "" ? words(thing) : `${words(verb)} ${thing.replaceAll("-", " ")}`;
}

/** An operation on its way from the form to its answer. */
export class ActionModel {
  readonly action: Action;
  readonly operation: Operation;
  readonly given = signal<Given>({});
  /** The approved request that the call uses; empty if it needs none. */
  readonly approval = signal("");
  readonly error = signal<unknown>(undefined);
  /** Whether a dry run succeeded, and nothing was changed in the form since. */
  readonly checked = signal(false);
  readonly busy = signal(false);
  /** Whether the person is asked to type a name again. */
  readonly confirms = signal(false);
  /** The answer, where it has something to show. */
  readonly answer = signal<Given | undefined>(undefined);
  readonly #done: (answer: Given) => void;
  /** A repetition of the same request has the same key, so that nothing is done twice. */
  #key = crypto.randomUUID();

  constructor(action: Action, done: (answer: Given) => void) {
    this.action = action;
    this.operation = operations[action.name];
    this.given.value = action.given ?? {};
    this.#done = done;
    const { confirm } = this.operation.command;
    this.confirms.value = confirm !== undefined && confirm.when === undefined;
  }

  /** Fields of the schemas that the form does not show. */
  get hidden(): readonly string[] {
    const { confirm } = this.operation.command;
    const field = this.confirms.value ? undefined : confirm?.field;
    return ["limit", "cursor", confirm?.when, field].filter((name) => name !== undefined);
  }

  /** The request of the form as it is. */
  get request(): LooseRequest {
    const { query, body, command } = this.operation;
    const when = this.confirms.value ? command.confirm?.when : undefined;
    const all = when === undefined ? this.given.value : { ...this.given.value, [when]: "true" };
    return {
      params: this.action.params,
      ...(query === undefined ? {} : { query: partOf(all, query) }),
      ...(body === undefined ? {} : { body: partOf(all, body) }),
    };
  }

  change(next: Given): void {
    this.given.value = next;
    this.#key = crypto.randomUUID();
    this.checked.value = false;
  }

  /** Sends the request; with `dryRun` the service only says whether it would do it. */
  async carryOut(dryRun: boolean): Promise<void> {
    this.busy.value = true;
    this.error.value = undefined;
    const approval = this.approval.value;
    try {
      const answer = await call(this.action.name, this.request, {
        idempotencyKey: this.#key,
        dryRun,
        ifMatch: this.action.version,
        approval: approval === "" ? undefined : approval,
      });
      this.checked.value = dryRun;
      if (!dryRun) this.#show(answer);
    } catch (error) {
      this.#refused(error);
    } finally {
      this.busy.value = false;
    }
  }

  /** Ends the action once a person has seen its answer. */
  finish(): void {
    this.#done(this.answer.value ?? {});
  }

  #show(answer: Given): void {
    const { output } = this.operation.command;
    this.answer.value = answer;
    if (output === undefined && answer["warning"] === undefined) this.finish();
  }

  #refused(error: unknown): void {
    this.error.value = error;
    if (!(error instanceof AdminProblem)) return;
    const { confirm } = this.operation.command;
    if (confirm !== undefined && confirmable.includes(error.code)) this.confirms.value = true;
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
