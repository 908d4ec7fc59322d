import { partitionOf, StoreUnavailable } from "@holdfast/engine";
import {
  acceptedName,
  numberMax,
  readAcceptances,
  writeAcceptances,
} from "../memory/acceptance.ts";
import type { MemorySurvey } from "../memory/older.ts";
import { Answers } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import { LocalValues } from "./local-values.ts";

const triesMax = 4;

/** Whether this node takes the store for the newest, and an operator's order to do so. */
export class Trust {
  readonly #context: StoreContext;
  readonly #answers: Answers;
  readonly #local: LocalValues;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#answers = new Answers(context, sessions);
    this.#local = new LocalValues(context, sessions);
  }

  /** See `OwnStore.doubted`. */
  readonly doubted = (): boolean => this.#context.memory?.doubted === true;

  /** See `OwnStore.accepted`. */
  readonly accepted = (): number => this.#context.memory?.accepted ?? 0;

  /** See `OwnStore.remembers`. */
  readonly remembers = (instance: string, uniqueIdentifier: string): boolean =>
    this.#context.memory?.get(partitionOf(instance), uniqueIdentifier) !== undefined;

  /** See `RedisStore.surveyMemory`. */
  readonly surveyMemory = async (record?: string): Promise<MemorySurvey> => {
    const session = await this.#answers.session();
    const survey = await this.#context.older.survey(session, record);
    this.#answers.assert(session);
    return survey;
  };

  /** See `RedisStore.accept`. */
  readonly accept = async (record?: string): Promise<void> => {
    const { memory, settings, values } = this.#context;
    for (let tries = 0; tries < triesMax; tries += 1) {
      const { storageKeys } = await this.#answers.session();
      const read = await this.#local.localValue(acceptedName);
      const before = readAcceptances(values, storageKeys, read);
      const last = Math.max(memory?.accepted ?? 0, ...before.map(({ number }) => number));
      // By the clock, so that it is above those of orders that an older store has no more.
      const number = Math.max(last + 1, Math.floor(settings.clock.wallMs()));
      if (number > numberMax) throw new RangeError("the clock of this machine is wrong");
      const value = writeAcceptances(values, storageKeys, before, { number, record });
      if (await this.#local.setLocalValue(acceptedName, read, value)) return;
    }
    throw new StoreUnavailable("superseded", "another order was given at the same time; try again");
  };
}
