import { emitKeypressEvents } from "node:readline";
import type { ReadStream } from "node:tty";
import type { FaultName, FaultRequest } from "./faults.ts";

export interface KeyActions {
  readonly names: readonly string[];
  readonly carryOut: (request: FaultRequest) => void;
  readonly status: () => void;
  readonly end: () => void;
  readonly say: (line: string) => void;
}

/** Faults that a single key starts; all but `cut` and `heal` then need the key of a part. */
const faultKeys: Readonly<Record<string, FaultName>> = {
  k: "kill",
  f: "freeze",
  t: "thaw",
  c: "cut",
  h: "heal",
};

const help =
  "Keys: k kill · f freeze · t thaw a part · c cut the line between the regions · h heal all · s status · q end";

/** Interprets single keys, one after another; separate from the terminal, so that it can be tested. */
export class Keys {
  readonly #actions: KeyActions;
  /** A fault that still needs the key of a part. */
  #chosen: FaultName | undefined;

  constructor(actions: KeyActions) {
    this.#actions = actions;
  }

  /** Handles a key, as the terminal reports it. */
  press(key: string): void {
    const chosen = this.#chosen;
    this.#chosen = undefined;
    if (key === "\u0003" || key === "q") this.#actions.end();
    else if (chosen !== undefined) this.#choosePart(chosen, key);
    else this.#choose(key);
  }

  #choose(key: string): void {
    const { carryOut, say, status } = this.#actions;
    const fault = faultKeys[key];
    if (fault === "cut" || fault === "heal") carryOut({ fault, parts: [], stay: false });
    else if (fault !== undefined) {
      this.#chosen = fault;
      const parts = [...partKeys(this.#actions.names)].map(([each, name]) => `${each} ${name}`);
      say(`${fault} what?  ${parts.join("  ")}  (any other key: nothing)`);
    } else if (key === "s") status();
    else say(help);
  }

  #choosePart(fault: FaultName, key: string): void {
    const part = partKeys(this.#actions.names).get(key);
    if (part === undefined) this.#actions.say(help);
    else this.#actions.carryOut({ fault, parts: [part], stay: false });
  }
}

const region = /^region-(.+)$/;
/** Keys of single processes, in order: no letter of a command, and none that a region's name could have. */
const processKeys = [..."1234567890", ..."gijlmnoprvwxyz"];

/**
 * The key of each part. A whole region has the capital letter of its name, so a key pressed in a hurry, or the key next
 * to the intended one, breaks one process at most.
 */
function partKeys(names: readonly string[]): ReadonlyMap<string, string> {
  const single = names.filter((name) => !region.test(name));
  const keys = single.flatMap((name, at): [string, string][] => {
    const key = processKeys[at];
    return key === undefined ? [] : [[key, name]];
  });
  const whole = names.flatMap((name): [string, string][] => {
    const [, of] = region.exec(name) ?? [];
    return of === undefined ? [] : [[of.charAt(0).toUpperCase(), name]];
  });
  return new Map([...keys, ...whole]);
}

/** Listens to single keys of a terminal; returns a function that stops this, or undefined without a terminal. */
export function listenToKeys(
  input: ReadStream | NodeJS.ReadStream,
  actions: KeyActions,
): (() => void) | undefined {
  if (!input.isTTY || !process.stdout.isTTY) return undefined;
  const keys = new Keys(actions);
  const onKey = (text: string | undefined) => keys.press(text ?? "");
  emitKeypressEvents(input);
  input.setRawMode(true);
  input.on("keypress", onKey);
  input.resume();
  actions.say(help);
  return () => {
    input.off("keypress", onKey);
    input.setRawMode(false);
    input.pause();
  };
}
