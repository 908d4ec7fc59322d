import {
  type AttributeName,
  type AttributeValue,
  attributeItem,
  attributes,
  attributeVisible,
  type Request,
  tags,
  type Version,
  vendorAttribute,
  versions,
  within,
} from "@holdfast/kmip";
import { dateTime, type Item, structure, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stateValues } from "../record/lifecycle.ts";
import type { Facts, ManagedObject, Register } from "../record/record.ts";
import { compareRegisters } from "../record/register-codec.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

const seed = 6_128;
const now = 1_780_000_000;

/** A simple model of an object, from which both the record and the expected result of Locate are made. */
interface Model {
  readonly id: string;
  readonly secret: boolean;
  readonly name: string | undefined;
  readonly groups: readonly string[];
  readonly sites: readonly string[];
  readonly data: string | undefined;
  readonly mask: number;
  readonly total: number | undefined;
  readonly activation: number | undefined;
  readonly initial: number;
  readonly linked: string | undefined;
  readonly state: "PreActive" | "Active" | "Compromised" | "Destroyed" | "DestroyedCompromised";
  readonly served: boolean;
}

const word = fc.constantFrom("a", "b", "c");
const words = fc.uniqueArray(word, { maxLength: 3 });
const seconds = fc.integer({ min: now + 1, max: now + 4 });
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const states = ["PreActive", "Active", "Compromised", "Destroyed", "DestroyedCompromised"] as const;

const models: fc.Arbitrary<readonly Model[]> = fc
  .uniqueArray(
    fc.record({
      id: fc.uuid(),
      secret: fc.boolean(),
      name: maybe(fc.constantFrom("n1", "n2", "n3", "n4", "n5", "n6")),
      groups: words,
      sites: words,
      data: maybe(word),
      mask: fc.nat({ max: 15 }),
      total: maybe(fc.nat({ max: 3 })),
      activation: maybe(seconds),
      initial: seconds,
      linked: maybe(word),
      state: fc.constantFrom(...states),
      served: fc.boolean(),
    }),
    { maxLength: 12, selector: ({ id }) => id },
  )
  .map((all) => all.map((one, at) => ({ ...one, name: uniqueName(all, one, at) })));

/** The Name of a live object is unique. */
function uniqueName(all: readonly Omit<Model, "id">[], one: Omit<Model, "id">, at: number) {
  return all.slice(0, at).some(({ name }) => name === one.name) ? undefined : one.name;
}

const isDestroyed = ({ state }: Model) => state.startsWith("Destroyed");
const fact = { time: now - 10, region: "r" };

function factsOf({ state, served }: Model): Facts {
  return {
    ...(served ? { served: fact } : {}),
    ...(state === "Active" ? { activated: fact } : {}),
    ...(state.endsWith("Compromised") ? { compromised: fact } : {}),
    ...(state.startsWith("Destroyed") ? { destroyed: fact } : {}),
  };
}

const site = (value: string) => vendorAttribute("x", "Site", textString(0, value));
const group = (value: string) => attributeItem("ObjectGroup", value);

function registersOf(model: Model): readonly Register[] {
  const { name, groups, sites, data, mask, total, activation, linked } = model;
  const items: readonly Item[] = [
    ...(name === undefined ? [] : [attributeItem("Name", { value: name, type: "URI" })]),
    ...groups.map(group),
    ...sites.map(site),
    ...(data === undefined
      ? []
      : [attributeItem("ApplicationSpecificInformation", { namespace: "ns", data })]),
    attributeItem("CryptographicUsageMask", mask),
    ...(total === undefined
      ? []
      : [attributeItem("UsageLimits", { total: BigInt(total), unit: "Byte" })]),
    ...(activation === undefined ? [] : [attributeItem("ActivationDate", activation)]),
    ...(linked === undefined
      ? []
      : [attributeItem("Link", { type: "DerivedKeyLink", linkedObjectIdentifier: linked })]),
  ];
  return items
    .map((value, index): Register => {
      const key = value.tag === attributes.VendorAttribute.tag ? "x\0Site" : "";
      return { tag: value.tag, index, origin: "r", key, value, stamp: { us: 1, region: "r" } };
    })
    .toSorted(compareRegisters);
}

function recordOf(model: Model): ManagedObject {
  return {
    uniqueIdentifier: model.id,
    instance: "i",
    objectType: model.secret ? 7 : 2,
    fixed: [attributeItem("InitialDate", model.initial)],
    material: undefined,
    facts: factsOf(model),
    registers: registersOf(model),
    lastChange: now,
  };
}

/** One criterion: its items, and whether a model satisfies it. */
interface Criterion {
  readonly attribute: AttributeName;
  readonly items: readonly Item[];
  readonly keeps: (model: Model) => boolean;
}

const one = <N extends AttributeName>(
  attribute: N,
  value: AttributeValue<N>,
  keeps: Criterion["keeps"],
): Criterion => ({ attribute, items: [attributeItem(attribute, value)], keeps });

const noDate = 2n ** 63n - 1n;
const limit = fc.oneof(seconds.map(BigInt), fc.constant(noDate));

/** One date, or two that are a range. */
const dates = fc
  .record({
    attribute: fc.constantFrom("ActivationDate" as const, "InitialDate" as const),
    limits: fc.array(limit, { minLength: 1, maxLength: 2 }),
  })
  .map(({ attribute, limits }): Criterion => {
    const of = ({ activation, initial, state }: Model): bigint => {
      if (attribute === "InitialDate") return BigInt(initial);
      if (state === "Active") return BigInt(fact.time);
      return activation === undefined ? noDate : BigInt(activation);
    };
    return {
      attribute,
      items: limits.map((value) => dateTime(attributes[attribute].tag, value)),
      keeps: (model) => {
        const date = of(model);
        const within = (least: bigint, most: bigint) => least <= date && date <= most;
        const [first = 0n, second = first] = limits;
        return within(first, second) || within(second, first);
      },
    };
  });

/** Secret Data of 1.x has no Usage Limits. */
const limited = (model: Model, version: Version) => !(model.secret && version < "2");

const criteriaOf = (version: Version): fc.Arbitrary<Criterion> =>
  fc.oneof(
    dates,
    fc.constantFrom("n1", "n2").map((value) => ({
      attribute: "Name" as const,
      items: [structure(tags.Name.tag, [textString(tags.NameValue.tag, value)])],
      keeps: ({ name }: Model) => name === value,
    })),
    word.map((value) => one("ObjectGroup", value, ({ groups }) => groups.includes(value))),
    word.map((value) => ({
      attribute: "VendorAttribute" as const,
      items: [site(value)],
      keeps: ({ sites }: Model) => sites.includes(value),
    })),
    word.map((data) =>
      one("ApplicationSpecificInformation", { namespace: "ns", data }, (m) => m.data === data),
    ),
    fc.constant(
      one("ApplicationSpecificInformation", { namespace: "ns" }, (m) => m.data !== undefined),
    ),
    fc
      .nat({ max: 15 })
      .map((mask) => one("CryptographicUsageMask", mask, (m) => (m.mask & mask) === mask)),
    fc
      .tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 }))
      .map(([total, count]) =>
        one(
          "UsageLimits",
          { total: BigInt(total), count: BigInt(count), unit: "Byte" },
          (m) =>
            limited(m, version) && m.total !== undefined && m.total >= total && m.total >= count,
        ),
      ),
    word.map((value) => ({
      attribute: "Link" as const,
      items: [structure(tags.Link.tag, [textString(tags.LinkedObjectIdentifier.tag, value)])],
      keeps: ({ linked }: Model) => linked === value,
    })),
    fc.constantFrom(...states).map((state) => one("State", state, (m) => m.state === state)),
    fc.boolean().map((fresh) => one("Fresh", fresh, ({ served }) => served !== fresh)),
    fc
      .boolean()
      .map((secret) =>
        one("ObjectType", secret ? "SecretData" : "SymmetricKey", (m) => m.secret === secret),
      ),
  );

const requests = fc.constantFrom(...versions).chain((version) =>
  fc.record({
    version: fc.constant(version),
    criteria: fc
      .uniqueArray(criteriaOf(version), {
        maxLength: 3,
        // Several values of a single-valued attribute may be asked for; of a date, several values are a range.
        selector: ({ attribute }) => (attribute.endsWith("Date") ? attribute : {}),
      })
      .map((all) =>
        all.filter(({ attribute }) => attributeVisible(attributes[attribute].tag, version)),
      ),
    mask: maybe(fc.nat({ max: version < "2" ? 3 : 7 })),
    maximum: maybe(fc.nat({ max: 5 })),
    offset: maybe(fc.nat({ max: 3 })),
    fresh: fc.boolean(),
  }),
);

type Asked = typeof requests extends fc.Arbitrary<infer Value> ? Value : never;

function payloadOf({ version, criteria, mask, maximum, offset, fresh }: Asked): Request<"Locate"> {
  return {
    attributes: criteria.flatMap(({ items }) => items.map((item) => ({ item }))),
    ...(mask === undefined ? {} : { storageStatusMask: mask }),
    ...(maximum === undefined ? {} : { maximumItems: maximum }),
    ...(offset === undefined || !within(version, "1.3") ? {} : { offsetItems: offset }),
    ...(fresh && within(version, "1.1") ? { objectGroupMember: "GroupMemberFresh" } : {}),
  };
}

/** What Locate must find: checks every object, newest first. */
function naive(all: readonly Model[], asked: Asked): readonly string[] {
  const { storageStatusMask: mask = 1, ...payload } = payloadOf(asked);
  const { maximumItems, offsetItems = 0, objectGroupMember } = payload;
  return [...all]
    .reverse()
    .filter((model) => (mask & (isDestroyed(model) ? 4 : 1)) !== 0)
    .filter(({ served }) => objectGroupMember === undefined || !served)
    .filter((model) => asked.criteria.every(({ keeps }) => keeps(model)))
    .map(({ id }) => id)
    .slice(offsetItems, maximumItems === undefined ? undefined : offsetItems + maximumItems);
}

async function filled(all: readonly Model[]): Promise<TestEngine> {
  const engine = await testEngine();
  for (const model of all) {
    const outcome = await engine.store.commit(
      "i",
      [{ kind: "create", after: recordOf(model) }],
      [],
    );
    expect(outcome.kind).toBe("committed");
  }
  return engine;
}

describe(`Locate (seed ${seed})`, () => {
  test("finds the same as a check of every object", async () => {
    expect(Object.keys(stateValues)).toEqual(expect.arrayContaining([...states]));
    await fc.assert(
      fc.asyncProperty(models, fc.array(requests, { maxLength: 8 }), async (all, list) => {
        const engine = await filled(all);
        for (const asked of list) {
          const { uniqueIdentifiers } = await engine.ask(asked.version, "Locate", payloadOf(asked));
          expect(uniqueIdentifiers).toEqual(naive(all, asked));
        }
      }),
      { seed, numRuns: 300 },
    );
  });
});
