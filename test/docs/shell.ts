/** The words of a simple shell command, without quotes, redirections and leading assignments. */
export type Words = readonly string[];

const separators = new Set(["|", "||", "&&", ";", "&", "(", ")", "$("]);

/** The simple commands of a shell text, also inside `$(…)`, without comments and expansions. */
function commandsOf(text: string): readonly Words[] {
  const lines = text.replace(/\\\n/g, " ").split("\n");
  return lines.flatMap((line) => simpleCommands(tokens(line)));
}

/** The arguments of every `holdfast` command in a shell text. */
export function holdfastCommands(text: string): readonly Words[] {
  return commandsOf(text).flatMap((words) => {
    const at = words.findIndex((word) => !["sudo", "npx", "$"].includes(word));
    const program = words[at] ?? "";
    return program === "holdfast" || program.endsWith("/holdfast") ? [words.slice(at + 1)] : [];
  });
}

function tokens(line: string): readonly string[] {
  const form =
    /\s+#.*$|^#.*$|\$\(|\|\||&&|[|;&()]|\d?[<>]+&?\d?|(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s|;&()<>"'])+/g;
  return (line.match(form) ?? []).filter((token) => !/^\s*#/.test(token));
}

function simpleCommands(all: readonly string[]): readonly Words[] {
  const commands: string[][] = [[]];
  for (let at = 0; at < all.length; at += 1) {
    const token = all[at] ?? "";
    if (separators.has(token)) commands.push([]);
    else if (/^\d?[<>]/.test(token)) at += /&\d$/.test(token) ? 0 : 1;
    else commands.at(-1)?.push(token.replace(/["']/g, ""));
  }
  return commands
    .map((words) => words.slice(words.findIndex((word) => !/^[A-Za-z_]\w*=/.test(word))))
    .filter((words) => words.length > 0);
}
