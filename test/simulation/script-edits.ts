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
    ['redis.call("HGET", KEYS[4], "required") or "0"', '"0"'],
    [
      'redis.call("HGET", KEYS[2], "required"), common',
      'math.min(tonumber(redis.call("HGET", KEYS[2], "required")), tonumber(ARGV[2])), common',
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
