#!/usr/bin/env node
// brooklet-plugin-build ENTRY [-o FILE]: bundles a plugin with what it imports, makes a component of it, and puts its
// manifest in.

import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";
import { build } from "esbuild";

import { manifest } from "../src/index.js";

const VERSION = "0.1.0";
const sdk = dirname(dirname(fileURLToPath(import.meta.url)));

/** A custom section of a component: its id, its length, its name and what is in it. */
function section(name, data) {
  const leb = (n) => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...leb(n >>> 7)]);
  const named = Buffer.concat([Buffer.from(leb(Buffer.byteLength(name))), Buffer.from(name), Buffer.from(data)]);
  return Buffer.concat([Buffer.from([0, ...leb(named.length)]), named]);
}

async function main(args) {
  const at = args.findIndex((arg) => arg === "-o");
  const output = at < 0 ? undefined : args.splice(at, 2)[1];
  const [entry] = args;
  if (entry === undefined || args.length > 1) throw new Error("usage: brooklet-plugin-build ENTRY [-o FILE]");
  const path = resolve(entry);

  // The package that the entry belongs to names it.
  let folder = dirname(path);
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  const own = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));

  // TypeScript and all that the entry imports in one module; imports of the host stay.
  const contents = `
    import plugin from ${JSON.stringify(path)};
    import * as log from "brooklet:plugin/log@${VERSION}";
    import * as metrics from "brooklet:plugin/metrics@${VERSION}";
    import * as schemas from "brooklet:plugin/schemas@${VERSION}";
    import { component } from ${JSON.stringify(join(sdk, "src/component.js"))};
    const exported = component(plugin, { log, metrics, schemas });
    export const lifecycle = exported.lifecycle;
    export const transform = exported.transform;
  `;
  // Whatever copy of the SDK the plugin's package has, the component has this one, and once.
  const alias = {
    "brooklet-plugin/json": join(sdk, "src/json.js"),
    "brooklet-plugin": join(sdk, "src/index.js"),
  };
  const common = { alias, bundle: true, write: false, format: "esm", target: "es2022", logLevel: "warning" };
  const bundled = await build({
    ...common,
    stdin: { contents, resolveDir: folder, sourcefile: "component.js" },
    external: ["brooklet:*"],
  });
  // The plugin itself, without the host, says what stands in the manifest.
  const alone = await build({ ...common, entryPoints: [path] });
  const source = Buffer.from(alone.outputFiles[0].contents).toString("base64");
  const { default: plugin } = await import(`data:text/javascript;base64,${source}`);

  const wit = [join(sdk, "wit/plugin", VERSION), join(sdk, "../../wit/plugin", VERSION)].find(existsSync);
  const { component } = await componentize(bundled.outputFiles[0].text, {
    sourceName: "plugin.js",
    witPath: wit,
    worldName: "transform-plugin",
    // A transform has no clock, no chance and no network; what it prints goes to its log.
    disableFeatures: ["clocks", "random", "http", "fetch-event"],
  });
  const said = manifest(plugin, own);
  const file = resolve(output ?? join(folder, "build", `${said.name}.wasm`));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, Buffer.concat([component, section("brooklet:manifest", JSON.stringify(said))]));
  console.log(`${file}: ${said.name} ${said.version}`);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message ?? error);
  process.exit(1);
});
