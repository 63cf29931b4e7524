/** What cures a failed job: the same run again, or only a run with other settings. */

import type { FailureReason, Job } from "../../api/types";

/** The same settings would end the same way. Memory, models and data can be made room for, reached or mended. */
const CURED_BY_SETTINGS: ReadonlySet<string> = new Set(["invalid_settings"] satisfies FailureReason[]);

export function needsOtherSettings(failure: Job["failure"]): boolean {
  return CURED_BY_SETTINGS.has(failure?.reason ?? "");
}
