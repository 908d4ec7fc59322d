/** Where something is drawn: its centre and its size. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Where everything is drawn. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly boxes: ReadonlyMap<string, Box>;
  /** The line between the regions. */
  readonly line: readonly [readonly [number, number], readonly [number, number]];
  /** How many keys a Redis shows in a row. */
  readonly keysInRow: number;
}

/** Sizes of the drawing's parts. */
interface Sizes {
  readonly region: readonly [number, number];
  readonly node: readonly [number, number];
  readonly redis: readonly [number, number];
  readonly sentinel: readonly [number, number];
}

/** How far the rows of a region are below its centre. */
interface Rows {
  readonly title: number;
  readonly node: number;
  readonly redis: number;
  readonly sentinel: number;
}

/** A region's parts, by the centre of the region. */
function place(
  boxes: Map<string, Box>,
  region: string,
  [x, y]: readonly [number, number],
  sizes: Sizes,
  rows: Rows,
): void {
  const box = (name: string, dx: number, dy: number, [width, height]: readonly [number, number]) =>
    boxes.set(name, { x: x + dx, y: y + dy, width, height });
  box(region, 0, 0, sizes.region);
  box(`${region}:title`, 12 - sizes.region[0] / 2, rows.title, [0, 0]);
  const side = sizes.region[0] / 4;
  box(`${region}1`, -side, rows.node, sizes.node);
  box(`${region}2`, side, rows.node, sizes.node);
  box(`${region}:redis0`, -side, rows.redis, sizes.redis);
  box(`${region}:redis1`, side, rows.redis, sizes.redis);
  box(`${region}:sentinel`, 0, rows.sentinel, sizes.sentinel);
}

/** Regions side by side, clients above. */
function wide(): Layout {
  const boxes = new Map<string, Box>([["client", { x: 480, y: 25, width: 110, height: 34 }]]);
  const sizes: Sizes = {
    region: [430, 372],
    node: [190, 62],
    redis: [196, 122],
    sentinel: [110, 30],
  };
  const rows = { title: 172, node: -108, redis: 36, sentinel: 152 };
  place(boxes, "a", [220, 262], sizes, rows);
  place(boxes, "b", [740, 262], sizes, rows);
  const line = [
    [435, 340],
    [525, 340],
  ] as const;
  return { width: 960, height: 452, boxes, line, keysInRow: 6 };
}

/** One region above the other, clients between them. */
function narrow(): Layout {
  const boxes = new Map<string, Box>([["client", { x: 200, y: 366, width: 110, height: 34 }]]);
  const sizes: Sizes = {
    region: [392, 320],
    node: [186, 62],
    redis: [186, 122],
    sentinel: [110, 30],
  };
  const a = { title: -138, node: 104, redis: -24, sentinel: -117 };
  const b = { title: 148, node: -92, redis: 38, sentinel: 134 };
  place(boxes, "a", [200, 164], sizes, a);
  place(boxes, "b", [200, 568], sizes, b);
  const line = [
    [350, 324],
    [350, 408],
  ] as const;
  return { width: 400, height: 732, boxes, line, keysInRow: 6 };
}

/** The layout for a width on the screen. */
export function layoutFor(isNarrow: boolean): Layout {
  return isNarrow ? narrow() : wide();
}
