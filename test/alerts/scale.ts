const seconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/**
 * Divides the times in a rule file or in Alertmanager's settings by `factor`: how long a condition must hold, over which
 * time an increase is taken, and how long Alertmanager waits. Limits within an expression stay. `rules.test.ts` proves
 * that alerts keep the true times.
 */
export function scaled(text: string, factor: number): string {
  const shorter = (time: string, unit: string) => {
    const ms = (Number(time) * seconds[unit as keyof typeof seconds] * 1000) / factor;
    return `${Math.max(1, Math.round(ms))}ms`;
  };
  return text
    .replace(
      /\b(for|keep_firing_for|group_wait|group_interval|repeat_interval): (\d+)([smhd])\b/g,
      (_, key, time, unit) => `${key}: ${shorter(time, unit)}`,
    )
    .replace(/\[(\d+)([smhd])\]/g, (_, time, unit) => `[${shorter(time, unit)}]`)
    .replace(/\boffset (\d+)([smhd])\b/g, (_, time, unit) => `offset ${shorter(time, unit)}`);
}
