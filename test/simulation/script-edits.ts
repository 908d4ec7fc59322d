/** A text of one script, and what stands there instead. */
type Edit = readonly [find: string, put: string];

const noVersions: Edit = [
  "if change.after ~= change.before and not is_above(change.proof, header) then return false end",
  "",
];

/** What flaws change in scripts. */
export const scriptEdits = {
  /** `commit.lua` without the comparison of versions. */
  anyVersion: [noVersions],
  /** `commit.lua` without the comparison of tags, nor that of versions, which finds the same changes. */
  anyTag: [
    [
      "if tag_of(header) ~= change.before then return false end",
      'if (header == "") ~= (change.before == "") then return false end',
    ],
    noVersions,
  ],
  /** `marker.lua` and `formats.lua` as if a store required no more than the node reads that asks. */
  noFormat: [
    ['required[1] or "0", required[2] or "", now_ms()', '"0", "", now_ms()'],
    [
      'required[1] or "0", required[2] or "", common',
      "is_new and ARGV[2] or required[1], is_new and ARGV[4] or required[2], common",
    ],
    [
      'local required = redis.call("HMGET", KEYS[2], "required", "requiredProof")',
      `local required = redis.call("HMGET", KEYS[2], "required", "requiredProof")
local is_new = tonumber(required[1]) > tonumber(ARGV[2])`,
    ],
  ],
  /** `repair.lua` without the look at what it replaces. */
  anyRepair: [["if redis.sha1hex(value) ~= ARGV[1] then", "if false then"]],
} as const satisfies Readonly<Record<string, readonly Edit[]>>;

/** A function that makes these changes in each script. */
export function editedBy(name: keyof typeof scriptEdits): (source: string) => string {
  const edits: readonly Edit[] = scriptEdits[name];
  return (source) => edits.reduce((text, [find, put]) => text.replace(find, put), source);
}
