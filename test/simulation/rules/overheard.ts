/** What hears of a call: its arguments, and then its result or its error. */
type Ear<Method> = Method extends (...args: infer Args) => Promise<infer Result>
  ? (...args: Args) => Answers<Result> | undefined
  : never;

/** What hears how a call ended. */
interface Answers<Result> {
  readonly answered?: (result: Result) => void;
  readonly failed?: (error: unknown) => void;
}

/** By method, what hears of its calls. */
export type Ears<Target> = { readonly [Name in keyof Target]?: Ear<Target[Name]> };

type Method = (...args: readonly unknown[]) => Promise<unknown>;
type AnyEar = (...args: readonly unknown[]) => Answers<unknown> | undefined;

/**
 * An object of which some calls are heard. It answers as before and at the same moment, so that a history stays as it
 * is.
 */
export function overheard<Target extends object>(target: Target, ears: Ears<Target>): Target {
  const methods = new Map<PropertyKey, unknown>();
  return new Proxy(target, {
    get(of, name) {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(of, name, of);
      if (typeof value !== "function") return value;
      const ear = (ears as Readonly<Record<PropertyKey, AnyEar | undefined>>)[name];
      const method = value.bind(of) as Method;
      methods.set(name, ear === undefined ? method : heard(method, ear));
      return methods.get(name);
    },
  });
}

function heard(method: Method, ear: AnyEar): Method {
  return (...args) => {
    const answers = ear(...args);
    const result = method(...args);
    if (answers !== undefined) {
      const nothing = (): void => undefined;
      result.then(answers.answered ?? nothing, answers.failed ?? nothing);
    }
    return result;
  };
}

/** What several hear of the same object. */
export function joinedEars<Target>(...all: readonly Ears<Target>[]): Ears<Target> {
  const of = (name: string): readonly AnyEar[] =>
    all.flatMap((ears) => (ears as Readonly<Record<string, AnyEar | undefined>>)[name] ?? []);
  const names = new Set(all.flatMap((ears) => Object.keys(ears)));
  return Object.fromEntries(
    [...names].map((name) => [name, together(of(name))]),
  ) as unknown as Ears<Target>;
}

function together(ears: readonly AnyEar[]): AnyEar {
  const [only, ...others] = ears;
  if (only !== undefined && others.length === 0) return only;
  return (...args) => {
    const answers = ears.flatMap((ear) => ear(...args) ?? []);
    return {
      answered: (result) => {
        for (const each of answers) each.answered?.(result);
      },
      failed: (error) => {
        for (const each of answers) each.failed?.(error);
      },
    };
  };
}
