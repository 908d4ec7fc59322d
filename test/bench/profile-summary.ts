/** What `node --cpu-prof` writes, as far as it is read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const functionsMax = 40;

/** Where the time went that was not idle: by package, then by function, each with its own time only. */
export function summarise({ nodes, samples, timeDeltas }: CpuProfile): string[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const byOwner = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let total = 0;
  for (const [at, sample] of samples.entries()) {
    const frame = frames.get(sample);
    const us = timeDeltas[at] ?? 0;
    if (frame === undefined || frame.functionName === "(idle)") continue;
    total += us;
    add(byOwner, ownerOf(frame.url, frame.functionName), us);
    const place = `${frame.url.split("/").at(-1)}:${frame.lineNumber + 1}`;
    add(byFunction, `${frame.functionName || "(anonymous)"} ${place}`, us);
  }
  const lines = (times: ReadonlyMap<string, number>, most: number) =>
    [...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, most)
      .map(([name, us]) => `${((us / total) * 100).toFixed(1).padStart(6)} %  ${name}`);
  return [
    "by package:",
    ...lines(byOwner, byOwner.size),
    "by function:",
    ...lines(byFunction, functionsMax),
  ];
}

function ownerOf(url: string, name: string): string {
  const dependency = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (dependency !== undefined) return dependency;
  const own = /\/packages\/([^/]+)\//.exec(url)?.[1];
  if (own !== undefined) return `packages/${own}`;
  return url.startsWith("node:") ? "node" : name;
}

function add(times: Map<string, number>, name: string, us: number): void {
  times.set(name, (times.get(name) ?? 0) + us);
}
