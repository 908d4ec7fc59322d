import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { printable } from "@holdfast/admin/approval-text";
import { type Command, Option } from "commander";
import { identifier } from "../admin/values.ts";
import { countOf } from "../sites/connect.ts";
import { addSiteOptions, type SiteOptions, withAdmin } from "../sites/site.ts";
import { refuseExisting } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { exportAll, exportSubject } from "./export.ts";
import { type Plan, type PlanRow, readPlan } from "./files/plan-file.ts";
import { ReportFile } from "./files/report-file.ts";
import type { Patience, Surroundings } from "./patience.ts";
import { installed, plan } from "./plan.ts";
import { openRows, run } from "./run.ts";
import {
  addPatience,
  addSide,
  endpointsOf,
  type Given,
  patienceMs,
  refuseOneServer,
  withSide,
} from "./sides.ts";
import { verify } from "./verify.ts";

interface PlanOptions extends SiteOptions {
  readonly instance: string;
  readonly transportKey?: true;
  readonly newIdentifiers?: true;
  readonly dropTakenNames?: true;
  readonly page: number;
}

interface RunOptions extends SiteOptions {
  readonly report?: string;
  readonly rate?: number;
  readonly dryRun?: true;
}

interface VerifyOptions {
  readonly report?: string;
  readonly acceptLeft?: true;
  readonly page: number;
}

interface ExportOptions {
  readonly sameServers?: true;
  readonly report: string;
  readonly rate?: number;
  readonly transportKey?: true;
  readonly dryRun?: true;
  readonly page: number;
}

const around: Surroundings = {
  now: () => performance.now(),
  date: () => new Date(),
  sleep,
  newId: randomUUID,
};
/** Large pages: a server may walk all objects before the offset for each page. */
const pageUsual = 5_000;

/** `holdfast migrate`: keys of any KMIP server into an instance, and of an instance into any KMIP server. */
export function addMigrateCommands(program: Command): void {
  const parent = program
    .command("migrate")
    .summary("move keys from and to any KMIP server")
    .description(
      "Move keys from any KMIP server (1.0 to 2.1) into an instance, with their identifiers, and from an instance into any KMIP server. Nothing is ever revoked, destroyed or changed at the source.",
    );
  addPlan(parent);
  addRun(parent);
  addVerify(parent);
  addExport(parent);
}

function addPlan(parent: Command): void {
  const command = parent
    .command("plan")
    .argument("<plan>", "the file to write; it must not exist")
    .summary("list what will come, and what will not and why")
    .description(
      "Read every object of the source but its material, and write a plan: a file with one line for each object, which says whether it comes, and if not, why.",
    )
    .requiredOption("--instance <name>", "the instance that takes the keys")
    .option(
      "--new-identifiers",
      "give a new identifier to objects whose own one is not a UUID in lower case",
    )
    .option("--drop-taken-names", "move an object without a Name that another object has")
    .option(
      "--transport-key",
      "let `run` register a new key at the source, with which the source wraps each key (RFC 3394); it stays there",
    );
  addPage(command);
  addSide(command, "source");
  addPatience(command);
  addSiteOptions(command);
  command.action(async (path: string, given: PlanOptions & Given) => {
    refuseExisting("<plan>", path);
    await withAdmin(given, (admin) =>
      withSide("source", given, around, (source) =>
        plan({
          ...{
            path,
            source,
            admin,
            patience: apiPatience(given),
            around,
            endpoints: endpointsOf("source", given),
          },
          instance: identifier("instance", given.instance),
          transportKey: given.transportKey === true,
          newIdentifiers: given.newIdentifiers === true,
          dropsNames: given.dropTakenNames === true,
          pageSize: given.page,
        }),
      ),
    );
  });
}

function addRun(parent: Command): void {
  const command = parent
    .command("run")
    .argument("<plan>", "the plan of `holdfast migrate plan`")
    .summary("move what a plan says")
    .description(
      "Get each object of a plan from the source and import it into the instance, with its identifier, State, dates and attributes. It can be ended at any time, also by force: given again, it continues. The report has the digests of both sides, never material.",
    )
    .option("--report <file>", "the report, one line for each object (default: PLAN.report)")
    .option("--dry-run", "print what it would do, and change nothing");
  addRate(command);
  addSide(command, "source");
  addPatience(command);
  addSiteOptions(command);
  command.action(async (path: string, given: RunOptions & Given) => {
    const read = readPlan(path);
    const { id: instance } = read.header.instance;
    const subject = subjectOf(read);
    const reportPath = given.report ?? `${path}.report`;
    if (given.dryRun === true) {
      const lines = ReportFile.read(reportPath, subject);
      const open = openRows(read.rows, lines);
      if (open.length > 0) say(open.map(moveLine));
      say(`${open.length} objects would be moved to ${read.header.instance.name}`);
      return;
    }
    await withAdmin(given, async (admin) => {
      const patience = apiPatience(given);
      await installed(admin, instance, patience);
      await withSide("source", given, around, async (source) => {
        using report = ReportFile.open(reportPath, subject);
        await run({ ...{ plan: read, source, admin, patience, around, rate: given.rate }, report });
      });
      say(`${reportPath} has the report`);
    });
  });
}

function addVerify(parent: Command): void {
  const command = parent
    .command("verify")
    .argument("<plan>", "the plan of `holdfast migrate plan`")
    .summary("prove that both sides have the same")
    .description(
      "Get every object of a plan at the source and, as a client of the instance, at the target, and compare material, State and attributes. It ends with exit code 0 only if all are the same, the source has no objects that the plan does not have, and the plan leaves no live object there. It only reads, but for the transport key of a plan that has one.",
    )
    .option("--report <file>", "the report of `holdfast migrate run` (default: PLAN.report)")
    .option("--accept-left", "accept that the plan leaves live objects at the source");
  addPage(command);
  addSide(command, "source");
  addSide(command, "target");
  addPatience(command);
  command.action(async (path: string, given: VerifyOptions & Given) => {
    refuseOneServer(given);
    const read = readPlan(path);
    const report = ReportFile.read(given.report ?? `${path}.report`, subjectOf(read));
    await withSide("source", given, around, (source) =>
      withSide("target", given, around, (target) =>
        verify({
          ...{ plan: read, source, target, report, pageSize: given.page, around },
          acceptsLeft: given.acceptLeft === true,
        }),
      ),
    );
  });
}

function addExport(parent: Command): void {
  const command = parent
    .command("export")
    .summary("give the keys of an instance to any KMIP server")
    .description(
      "Read every object of the source as a client of the instance, and give it to the target: by Import if the target has it (KMIP 2.x), which keeps identifiers, otherwise by Register, then Activate and Revoke. The report maps old identifiers to new ones.",
    )
    .requiredOption(
      "--report <file>",
      "the report, one line for each object; given again, the command continues it",
    )
    .option(
      "--same-servers",
      "continue a report that names other endpoints: they are the same servers under other names",
    )
    .option("--dry-run", "print what it would do, and change nothing")
    .option(
      "--transport-key",
      "register a new key at the source, with which the source wraps each key (RFC 3394); it stays there",
    );
  addPage(command);
  addRate(command);
  addSide(command, "source");
  addSide(command, "target");
  addPatience(command);
  command.action(async (given: ExportOptions & Given) => {
    refuseOneServer(given);
    const servers = [endpointsOf("source", given), endpointsOf("target", given)] as const;
    const subject = exportSubject(...servers, given.sameServers === true);
    const dryRun = given.dryRun === true;
    await withSide("source", given, around, (source) =>
      withSide("target", given, around, async (target) => {
        using begun = dryRun ? undefined : ReportFile.open(given.report, subject);
        const lines = begun?.lines ?? ReportFile.read(given.report, subject);
        await exportAll({
          ...{ source, target, around, rate: given.rate, pageSize: given.page, dryRun },
          report: begun ?? { lines, add: () => undefined },
          transportKey: given.transportKey === true,
        });
      }),
    );
    if (!dryRun) say(`${given.report} has the report`);
  });
}

function moveLine({ id, type, becomes }: PlanRow): string {
  return printable(`move ${type} ${id}${becomes === undefined ? "" : ` as ${becomes}`}`);
}

function apiPatience(given: Given): Patience {
  return { ms: patienceMs(given), around, who: "the management API" };
}

function subjectOf({ hash, header }: Plan): { readonly of: string; readonly target: string } {
  return { of: hash, target: header.instance.id };
}

function addPage(command: Command): void {
  command.addOption(
    new Option("--page <count>", "how many identifiers are asked for at once")
      .argParser(countOf)
      .default(pageUsual),
  );
}

function addRate(command: Command): void {
  command.option("--rate <count>", "at most so many objects in a second", countOf);
}
