import { cpSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitepress";

const root = join(import.meta.dirname, "../..");

/** An entry of the sidebar: its title, and the page's file in docs/. */
const page = (text: string, name: string) => ({ text, link: `/docs/${name}` });

/** The sidebar: one group for each kind of reader. */
const paths = [
  {
    text: "vSphere administrator",
    items: [
      page("Why a key manager", "why-a-key-manager"),
      page("vSphere compatibility", "vsphere-compatibility"),
      page("Quick start", "quick-start"),
      page("Certificates", "certificates"),
      page("vCenter's alarms", "vcenter-alarms"),
      page("The web console", "console"),
      page("Inside the vSphere Client", "vsphere-plugin"),
      page("Keys", "keys"),
      page("Re-keying", "re-keying"),
      page("From IBM's KMIP for VMware", "from-ibm"),
      page("Native Key Provider", "native-key-provider"),
      page("From and to any KMIP server", "migrate"),
      page("Support", "support"),
    ],
  },
  {
    text: "SRE",
    items: [
      page("Try it", "try-it"),
      page("Install", "install"),
      page("Run a node", "run-a-node"),
      page("Operations guide", "operations"),
      page("Upgrade", "upgrade"),
      page("Runbook", "runbook"),
      page("Disaster recovery", "disaster-recovery"),
      page("Alerts", "alerts"),
      page("Service level objectives", "slo"),
      page("Metrics", "metrics"),
      page("Backup", "backup"),
      page("Networks and ports", "private-connectivity"),
      { text: "Containers", link: "/deploy/compose/README" },
      { text: "Kubernetes", link: "/deploy/kubernetes/README" },
      { text: "Redis", link: "/deploy/redis/README" },
    ],
  },
  {
    text: "Security officer",
    items: [
      page("Guarantees", "guarantees"),
      page("One simulated history", "simulation"),
      page("Planted faults", "mutants"),
      page("Threat model", "threat-model"),
      page("FIPS and post-quantum", "fips"),
      page("Audit trail", "audit"),
      page("Root key: Key Protect", "root-of-trust-key-protect"),
      page("Root key: Dedicated Key Protect", "root-of-trust-dedicated-key-protect"),
      page("Root key: HPCS", "root-of-trust-hpcs"),
      page("Root key: HSM", "root-of-trust-pkcs11"),
      page("Root key: file", "root-of-trust-local"),
      page("The storage key", "storage-key"),
      page("The region key", "region-key"),
      page("Approvals", "approvals"),
      page("Supply chain", "supply-chain"),
      page("Dependencies", "dependencies"),
      page("Licences", "licences"),
      { text: "Report a vulnerability", link: "/SECURITY" },
    ],
  },
  {
    text: "Reference",
    items: [
      page("Command line", "cli"),
      page("Management API", "api"),
      page("IBM's API for KMIP adapters", "ibm-rest-api"),
      page("Configuration", "configuration"),
      page("KMIP support", "kmip-support"),
      page("Glossary", "glossary"),
    ],
  },
  {
    text: "Contributor",
    items: [
      { text: "Contributing", link: "/CONTRIBUTING" },
      page("Architecture", "architecture"),
      page("Protocol between regions", "peer-protocol"),
      page("Design: trust", "design-trust"),
      page("Design: trust, details", "design-trust-details"),
      page("Histories of chaos runs", "histories"),
      page("Performance", "performance"),
      { text: "Changelog", link: "/CHANGELOG" },
    ],
  },
];

/** Files of the repository that pages link to; below, extensions of files that are not pages. */
const files = [
  "deploy",
  "scripts/powercli",
  "docs/openapi.json",
  "packages/regions/proto",
  "LICENSE",
];
process.env["VITE_EXTRA_EXTENSIONS"] = "cfg,proto,ps1,sh";

// VitePress reads a default export.
export default defineConfig({
  title: "Holdfast",
  description: "A highly available key manager for VMware vSphere and vSAN encryption",
  srcDir: "..",
  srcExclude: ["**/node_modules/**", "dist/**", "packages/**", "test/**", ".holdfast/**"],
  rewrites: { "README.md": "index.md" },
  outDir: join(root, "dist/site"),
  cacheDir: join(root, ".holdfast/site-cache"),
  cleanUrls: false,
  markdown: {
    headers: { level: [2, 3] },
    // Double braces are Prometheus templates here, not Vue expressions.
    config: (md) => {
      const content: NonNullable<typeof md.renderer.rules.text> = (tokens, at) =>
        md.utils.escapeHtml(tokens[at]?.content ?? "").replaceAll("{{", "&#123;&#123;");
      md.renderer.rules.text = content;
      md.renderer.rules.code_inline = (...rule) => `<code v-pre>${content(...rule)}</code>`;
    },
  },
  themeConfig: {
    search: { provider: "local" },
    sidebar: paths,
    nav: paths.map(({ text, items: [first] }) => ({ text, link: first?.link ?? "/" })),
    outline: [2, 3],
  },
  // A dead link fails the build. This link is valid, but its file has no extension.
  ignoreDeadLinks: ["./LICENSE", "./../LICENSE"],
  buildEnd: ({ outDir }) => {
    for (const name of files) {
      cpSync(join(root, name), join(outDir, name), {
        recursive: true,
        filter: (path) => !path.endsWith(".md"),
      });
    }
  },
});
