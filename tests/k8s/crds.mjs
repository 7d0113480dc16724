// Holds objects of custom resources against their definitions: a JSON array of objects on stdin, a JSON array of complaints on
// stdout, each {index, complaint}. The packages are in the folder that the first argument names. Each object is held twice: against
// the package's schema (patterns, ranges, required fields), which lets unknown fields pass, and against its TypeScript
// interface as an object literal, which does not.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const FOLDER = resolve(process.argv[2]);
const MODELS = join(FOLDER, "node_modules", "@kubernetes-models");
const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api/gateway.networking.k8s.io",
  "keda.sh": "keda/keda.sh",
  "monitoring.coreos.com": "prometheus-operator/monitoring.coreos.com",
};
const ts = createRequire(join(FOLDER, "package.json"))("typescript");

/// The file of the object's kind without its ending, or a complaint.
function place(object) {
  const [group, version] = object.apiVersion.split("/");
  const folder = PACKAGES[group];
  if (folder === undefined) return { complaint: `no schema is known of ${object.apiVersion}` };
  if (!existsSync(join(MODELS, folder))) throw new Error(`${join(MODELS, folder)} is not installed`);
  // By its file: some of the packages name no such place among their exports.
  const file = join(MODELS, folder, version, object.kind);
  if (!existsSync(`${file}.js`)) return { complaint: `there is no ${object.kind} in ${object.apiVersion}` };
  return { file };
}

async function bySchema(object, file) {
  const module = await import(pathToFileURL(`${file}.js`));
  const Model = module[object.kind] ?? module.default[object.kind];
  try {
    new Model(object).validate();
  } catch (error) {
    return [error.message];
  }
  return [];
}

/// One program for all: each object a constant in a file of its own, which exists in memory alone.
function byType(entries) {
  const sources = new Map(
    entries.map(({ object, file }, index) => [
      join(FOLDER, `object-${index}.ts`),
      `import type { I${object.kind} } from ${JSON.stringify(file)};\n` +
        `export const object: I${object.kind} = ${JSON.stringify(object, null, 1)};\n`,
    ]),
  );
  const options = {
    strict: true,
    noEmit: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Node10,
    // The packages' own files are theirs.
    skipLibCheck: true,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => sources.has(name) || fileExists(name);
  host.readFile = (name) => sources.get(name) ?? readFile(name);
  host.getSourceFile = (name, ...rest) =>
    sources.has(name) ? ts.createSourceFile(name, sources.get(name), ...rest) : getSourceFile(name, ...rest);
  const program = ts.createProgram([...sources.keys()], options, host);
  return [...sources.keys()].map((name) =>
    ts.getPreEmitDiagnostics(program, program.getSourceFile(name)).map((entry) => {
      const line = entry.file ? entry.file.text.slice(entry.start).split("\n")[0].trim() : "";
      return `${ts.flattenDiagnosticMessageText(entry.messageText, " ").split("\n")[0]} At: ${line}`;
    }),
  );
}

const objects = JSON.parse(readFileSync(0, "utf8"));
const found = [];
const entries = [];
for (const [index, object] of objects.entries()) {
  const { complaint, file } = place(object);
  if (complaint !== undefined) found.push({ index, complaint });
  else entries.push({ index, object, file });
}
const types = entries.length ? byType(entries) : [];
for (const [at, { index, object, file }] of entries.entries()) {
  for (const complaint of [...(await bySchema(object, file)), ...types[at]]) found.push({ index, complaint });
}
process.stdout.write(JSON.stringify(found));
