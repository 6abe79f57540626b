// The packages that are installed beside the interop tests.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = createRequire(new URL("../interop/package.json", import.meta.url));

/** A module of a package, such as `@scope/name/module.js`. */
export async function importPackage(specifier) {
  return import(pathToFileURL(PACKAGES.resolve(specifier)).href);
}

/** Where a suite's program is, and its version. `suite` is the name of its package here. */
export function suiteEntry(suite) {
  const manifest = PACKAGES.resolve(`${suite}/package.json`);
  const { name, version, bin } = JSON.parse(readFileSync(manifest));
  return { program: join(dirname(manifest), bin.conformance), version, title: `${name} ${version}` };
}
