import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Switched, turnSwitch } from "../base/api.ts";
import { words } from "../base/text.ts";
import { repeat } from "../base/work.ts";
import { Chart, type Sample } from "../parts/chart.tsx";
import { Drawing, useHeard } from "../parts/drawing.tsx";
import { Failure } from "../parts/notices.tsx";
import { Commands } from "./commands.tsx";

/** The path of this page, which only a development cluster has. */
export const watchPath = "/watch";

const reportEveryMs = 500;
const saidMax = 12;

/** The counters, in the order of the page. */
const counters: readonly (readonly [name: string, words: string])[] = [
  ["made", "keys made and acknowledged"],
  ["fetched", "fetched again, with the same bytes"],
  ["lost", "lost"],
  ["refused", "requests without success, asked again elsewhere"],
  ["longestGapMs", "longest time without an answer, ms"],
];

/** What the chart shows: counters of the load, each second. */
const rates = [
  { name: "answered each second", counts: ["made", "fetched"], colour: "#318700" },
  { name: "without success", counts: ["refused"], colour: "#e12200" },
] as const;
/** Two minutes. */
const samplesMax = 240;

/** What happened each second between two reports. */
function sampleOf(before: Switched["load"], now: Switched["load"], seconds: number): Sample {
  const grown = (name: string) => Number(now?.[name] ?? 0) - Number(before?.[name] ?? 0);
  const values = rates.map(({ counts }) =>
    Math.max(0, counts.reduce((sum, name) => sum + grown(name), 0) / seconds),
  );
  return { timeMs: Date.now(), values };
}

/** Breaks the development cluster on purpose, beside its drawing and the counters of a load. */
export function Watch() {
  const heard = useHeard(true);
  const reply = useSignal<Switched | undefined>(undefined);
  const said = useSignal<readonly string[]>([]);
  const samples = useSignal<readonly Sample[]>([]);
  const error = useSignal<unknown>(undefined);
  const part = useSignal("a1");
  useEffect(() => {
    document.title = "Watch it survive – Holdfast";
    return repeat(reportEveryMs, async () => {
      try {
        const before = reply.peek();
        const beforeMs = samples.peek().at(-1)?.timeMs ?? Date.now() - reportEveryMs;
        reply.value = await turnSwitch({ load: "report" });
        const seconds = Math.max(1, Date.now() - beforeMs) / 1000;
        const sample = sampleOf(before?.load ?? reply.value.load, reply.value.load, seconds);
        samples.value = [...samples.peek(), sample].slice(-samplesMax);
      } catch (reason) {
        error.value = reason;
      }
    });
  }, []);
  const turn = async (request: unknown) => {
    try {
      const { lines, fault } = await turnSwitch(request);
      error.value = fault === undefined ? undefined : new Error(fault);
      const time = new Date().toISOString().slice(11, 23);
      said.value = [...lines.map((line) => `${time} ${line}`), ...said.value].slice(0, saidMax);
    } catch (reason) {
      error.value = reason;
    }
  };
  const fault = (name: string, ...parts: readonly string[]) =>
    void turn({ fault: name, parts, stay: true });
  const runs = reply.value?.load?.["runs"] === true;
  return (
    <>
      <h1>Watch it survive</h1>
      <p>
        Clients make keys and fetch them again at all four endpoints. Kill, freeze or cut what you
        like: no acknowledged key may be lost. The keys are of the instance demo and stay there; the
        load runs until you stop it.
      </p>
      <div class="toolbar">
        <button
          type="button"
          class="btn btn-sm btn-primary"
          onClick={() => void turn({ load: runs ? "stop" : "start" })}
        >
          {runs ? "Stop the load" : "Start the load"}
        </button>
        <label for="part">Part</label>
        <select
          id="part"
          class="clr-select"
          value={part.value}
          onChange={(event) => {
            part.value = event.currentTarget.value;
          }}
        >
          {(reply.value?.parts ?? ["a1"]).map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        {["kill", "freeze", "heal"].map((name) => (
          <button
            key={name}
            type="button"
            class="btn btn-sm"
            onClick={() => fault(name, part.value)}
          >
            {words(name)}
          </button>
        ))}
        <button type="button" class="btn btn-sm" onClick={() => fault("cut")}>
          Cut the line
        </button>
        <button type="button" class="btn btn-sm btn-success" onClick={() => fault("heal")}>
          Heal all
        </button>
      </div>
      {error.value === undefined ? null : <Failure error={error.value} />}
      <dl class="counters">
        {counters.map(([name, meaning]) => (
          <div key={name}>
            <dd data-count={name}>{Number(reply.value?.load?.[name] ?? 0).toLocaleString("en")}</dd>
            <dt>{meaning}</dt>
          </div>
        ))}
      </dl>
      <Chart
        label="Answers and failures of the load, each second"
        lines={rates}
        samples={samples.value}
      />
      <Drawing heard={heard} />
      <ul class="list said" role="log" aria-label="What was done">
        {said.value.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
      <Commands
        texts={[`kill ${part.value} --stay`, `freeze ${part.value} --stay`, "cut", "heal"].map(
          (words) => `npx holdfast dev ${words}`,
        )}
      />
    </>
  );
}
