// Places where the engine may die with something half done; see autogpt_server/service/crash_points.py.

import { readdirSync, renameSync } from "node:fs";
import { join } from "node:path";

const folder = process.env.AUTOGPT_CRASH_POINTS_DIR;

export function crashPoint(name) {
  if (!folder) return;
  const rests = readdirSync(folder).map((file) => file.startsWith(`${name}.`) && file.slice(name.length + 1));
  const numbers = rests.filter((rest) => /^\d+$/.test(rest)).map(Number);
  if (numbers.length === 0) return;
  const armed = join(folder, `${name}.${Math.max(...numbers)}`);
  renameSync(armed, `${armed}.${process.pid}`);
  if (numbers.length === 1) process.kill(process.pid, "SIGKILL");
}
