// The package as others get it: packed, installed into an empty project, used by both module systems and by strict types.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(HERE, "node_modules/typescript/bin/tsc");
let project;

function run(program, args) {
  try {
    return execFileSync(program, args, { cwd: project, encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    assert.fail(`${program} ${args.join(" ")}: ${error.stdout}${error.stderr}`);
  }
}

before(() => {
  project = mkdtempSync(join(tmpdir(), "agent-vault-package-"));
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true }));
  // Built already: a build of its own would take the ground from under tests that run beside this one.
  const [{ filename, files }] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project, HERE]));
  assert.ok(files.every(({ path }) => path.startsWith("dist/") || ["README.md", "package.json"].includes(path)));
  // It brings nothing, so nothing has to be fetched.
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(project, filename)]);
});
after(() => rmSync(project, { recursive: true, force: true }));

const USE = `
new AgentVault({ token: "t" }).vault("v").services.dryRun;
if (!(new ApiError(404, { code: "c", message: "m" }, new Headers()) instanceof Error)) throw new Error("no error");
console.log(typeof buildProxyEnv, VERSION);
`;

test("ESM and CommonJS load it", () => {
  const names = "{ AgentVault, ApiError, buildProxyEnv, VERSION }";
  writeFileSync(join(project, "a.mjs"), `import ${names} from "@infisical/agent-vault-sdk";${USE}`);
  writeFileSync(join(project, "b.cjs"), `const ${names} = require("@infisical/agent-vault-sdk");${USE}`);
  assert.match(run("node", ["a.mjs"]), /^function 0\./);
  assert.match(run("node", ["b.cjs"]), /^function 0\./);
});

test("its types hold under the strictest settings, in both module systems", () => {
  const body = `
const av = new AgentVault({ token: "t", timeout: undefined });
const vault = av.vault("v");
export async function use(signal: AbortSignal): Promise<(string | null)[]> {
  const service: Service = { name: "n", host: "h", auth: { type: "bearer", token: "K" } };
  const { revision } = await vault.services.set([service], { expected: { n: null }, signal });
  // @ts-expect-error a revision may be unknown
  const sure: number = revision;
  // @ts-expect-error a service has its way of authentication
  const wrong: Service = { name: "n", host: "h" };
  // @ts-expect-error it may not be there
  new VaultClient({ token: "t" }).services.list();
  const review: ProposalReview = await vault.proposals.review(1);
  const found: (string | null)[] = review.preview?.flows.map((flow) => flow.host) ?? [];
  for await (const row of vault.logs.follow({ host: "h" }, { signal })) found.push(row.label);
  await vault.proposals.create({ services: [{ action: "set", ...service }], message: undefined }).catch((error: unknown) => {
    if (error instanceof VersionConflictError) found.push(error.hint ?? null);
  });
  const agent = await av.agents.get("a");
  found.push(agent.lastUsedAt, agent.vaults[0]?.role ?? null);
  return found;
}
`;
  const source = `import { AgentVault, VaultClient, VersionConflictError } from "@infisical/agent-vault-sdk";
import type { ProposalReview, Service } from "@infisical/agent-vault-sdk";${body}`;
  writeFileSync(join(project, "use.mts"), source);
  writeFileSync(join(project, "use.cts"), source);
  const options = {
    ...{ target: "ES2022", lib: ["ES2022", "DOM"], types: [], module: "NodeNext", noEmit: true, skipLibCheck: false },
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, verbatimModuleSyntax: false },
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["use.mts", "use.cts"] }));
  run("node", [TSC, "-p", "."]);
});
