/**
 * A Chromium without a window. It is in an npm package, compressed: nothing else has to be installed, and nothing is downloaded when
 * a test runs. Where the package has none (arm64), `chromium` of the system is taken.
 */
import { execFileSync } from "node:child_process";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { type Browser, chromium } from "playwright-core";

const NODE_MODULES = fileURLToPath(new URL("../../node_modules", import.meta.url));

export async function startChromium(): Promise<Browser> {
  const { executable, env } = await unpacked();
  return await chromium.launch({
    executablePath: executable,
    env: { ...process.env, ...env } as Record<string, string>,
    // Its sandbox needs rights that containers seldom give. It only opens pages of this repository.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}

interface Unpacked {
  readonly executable: string;
  readonly env: Readonly<Record<string, string>>;
}

async function unpacked(): Promise<Unpacked> {
  if (process.arch !== "x64") return { executable: "/usr/bin/chromium", env: {} };
  const found = path.join(NODE_MODULES, "@sparticuz/chromium");
  const packed = path.join(found, "bin");
  const { version } = JSON.parse(readFileSync(path.join(found, "package.json"), "utf8"));
  const folder = path.join(NODE_MODULES, ".cache", `chromium-${version}`);
  if (!existsSync(folder)) {
    // Under another name until it is whole: another test may do the same at this time.
    const own = `${folder}.${process.pid}`;
    mkdirSync(own, { recursive: true });
    await expand(path.join(packed, "chromium.br"), path.join(own, "chromium"), 0o755);
    for (const archive of ["fonts", "al2023"]) {
      const file = path.join(own, `${archive}.tar`);
      await expand(path.join(packed, `${archive}.tar.br`), file, 0o644);
      mkdirSync(path.join(own, archive));
      execFileSync("tar", ["-xf", file, "-C", path.join(own, archive)]);
      rmSync(file);
    }
    writeFileSync(path.join(own, "fonts.conf"), fontsIn(folder));
    try {
      renameSync(own, folder);
    } catch {
      rmSync(own, { recursive: true });
    }
  }
  const executable = path.join(folder, "chromium");
  return { executable, env: surroundingsOf(executable, folder) };
}

async function expand(from: string, to: string, mode: number): Promise<void> {
  await pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to, { mode }));
}

/** The package brings libraries and a font for systems without. The system's own libraries fit it better. */
function surroundingsOf(executable: string, folder: string): Record<string, string> {
  const libraries = execFileSync("ldd", [executable], { encoding: "utf8" });
  return {
    FONTCONFIG_FILE: path.join(folder, "fonts.conf"),
    ...(libraries.includes("not found")
      ? { LD_LIBRARY_PATH: path.join(folder, "al2023", "lib") }
      : {}),
  };
}

/** The system's fonts, and that of the package. */
function fontsIn(folder: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>${folder}/fonts</dir>
  <cachedir>${folder}/fonts-cache</cachedir>
</fontconfig>
`;
}
