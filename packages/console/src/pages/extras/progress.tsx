import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { may } from "../../base/may.ts";
import { repeat, restMs } from "../../base/work.ts";
import type { ExtraProps } from "./extra-props.ts";

type Instance = AnswerOf<"readInstance">;
type StorageKey = AnswerOf<"readStorageKey">;

/** Long work in one region. */
interface Work {
  readonly what: string;
  readonly done: number;
  readonly all: number;
  /** Why it does not continue; empty if it does. */
  readonly reason: string;
}

const lookEveryMs = 2000;
const changing: readonly string[] = ["Installing", "Configuring", "Removing"];

/**
 * Work on an instance that takes long, with how far it is. The service knows it, not the page: a reload loses nothing.
 * It is asked again only while something runs.
 */
export function Progress({ model, params }: ExtraProps) {
  const works = useSignal<readonly Work[]>([]);
  const instance = params["instance"] ?? "";
  const { thing } = model;
  useEffect(() => {
    if (thing.value === undefined) return;
    let ran = false;
    const end = repeat(lookEveryMs, async () => {
      try {
        works.value = await worksOf(instance);
      } catch {
        // The page itself says that nothing answers.
        return;
      }
      if (works.value.length > 0) {
        ran = true;
        return;
      }
      end();
      if (ran) void model.load();
    });
    return () => end();
  }, [instance, thing.value]);
  if (works.value.length === 0) return null;
  return (
    <section aria-label="Progress">
      {works.value.map(({ what, done, all, reason }) => (
        <p key={what}>
          {what}{" "}
          {all === 0 ? null : (
            <progress value={done} max={all} aria-label={what}>
              {done} of {all}
            </progress>
          )}{" "}
          {all === 0 ? "" : `${done.toLocaleString("en")} of ${all.toLocaleString("en")}`} {reason}
        </p>
      ))}
    </section>
  );
}

const rotations: Readonly<Record<string, string>> = {
  opening: "A new storage key waits until every node has opened it.",
  switching: "Every node begins to use the new storage key.",
  replacing: "What the older storage key has proven is proven anew.",
};

/** How far a rotation of a region's storage key is. */
export function StorageKeyProgress({ model }: ExtraProps) {
  const { items } = model;
  const keys = (items.value ?? []) as readonly StorageKey[];
  const running = keys.filter(({ rotation }) => rotation !== "none");
  const runs = running.length > 0;
  useEffect(() => repeat(runs ? lookEveryMs : restMs, () => model.load()), [model, runs]);
  return (
    <>
      {running.map(({ region, rotation, left }) => (
        <p key={region} role="status">
          Region {region}: {rotations[rotation] ?? rotation}{" "}
          {left === undefined ? "" : `${left.toLocaleString("en")} records are left.`}
        </p>
      ))}
    </>
  );
}

async function worksOf(name: string): Promise<readonly Work[]> {
  const instance = await call("readInstance", { params: { instance: name } });
  const report = may("reportRoots")
    ? (await call("reportRoots", {})).items.filter((row) => row.instance === instance.id)
    : [];
  return [
    ...statusWork(instance),
    ...Object.entries(instance.regions).flatMap(([region, { rekey }]): Work[] => {
      if (rekey === undefined || rekey.doneAt !== undefined) return [];
      const { resealed, left, reason } = rekey;
      const what = `Region ${region} seals records under the new key-encryption key.`;
      return [{ what, done: resealed, all: resealed + left, reason }];
    }),
    ...report.flatMap(({ region, stale, versions }): Work[] => {
      if (stale === 0) return [];
      const all = Object.values(versions).reduce((sum, count) => sum + count, 0);
      const what = `Region ${region} wraps key-encryption keys under the present root key.`;
      return [{ what, done: Math.max(0, all - stale), all, reason: "" }];
    }),
  ];
}

function statusWork({ status, reason }: Instance): readonly Work[] {
  if (!changing.includes(status)) return [];
  return [{ what: `The instance is ${status}.`, done: 0, all: 0, reason }];
}
